"""Backoff, budgets, nonces and the plan: everything that says when and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.backoff import Backoff
from kraken_l3.protocol.budget import (
    RATE_PER_S,
    SUBSCRIPTION_COST,
    SYMBOLS_PER_CONNECTION,
    ConnectionBudget,
    SubscriptionBudget,
)
from kraken_l3.protocol.nonce import next_nonce
from kraken_l3.protocol.plan import make_plan, redundancy_for, shards

MINUTE_NS = 60 * NS_PER_S


class TestBackoff:
    def test_doubles_from_one_second_to_sixty(self) -> None:
        backoff = Backoff(lambda: 0.0)
        delays = [backoff.next_delay_s(healthy_ns=0, maintenance=False) for _ in range(9)]
        assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    def test_a_link_that_was_healthy_for_a_minute_is_tried_at_once_one_time(self) -> None:
        backoff = Backoff(lambda: 0.0)
        delays = [backoff.next_delay_s(healthy_ns=0, maintenance=False) for _ in range(4)]
        delays.append(backoff.next_delay_s(healthy_ns=MINUTE_NS, maintenance=False))
        delays += [backoff.next_delay_s(healthy_ns=0, maintenance=False) for _ in range(2)]
        assert delays == [1, 2, 4, 8, 0, 1, 2]

    def test_a_link_that_is_good_for_thirty_seconds_at_a_time_is_tried_again_after_one(self) -> None:
        """Each of its reconnects succeeds: growing delays would only leave out data."""
        backoff = Backoff(lambda: 0.0)
        assert [backoff.next_delay_s(healthy_ns=MINUTE_NS // 2, maintenance=False) for _ in range(4)] == [1, 1, 1, 1]

    def test_a_link_that_breaks_at_once_each_time_stays_within_krakens_limit(self) -> None:
        backoff, now_s, attempts = Backoff(lambda: 0.0), 0.0, []
        while now_s < 600:
            attempts.append(now_s)
            now_s += 0.1 + backoff.next_delay_s(healthy_ns=NS_PER_S // 10, maintenance=False)
        assert len(attempts) <= 122

    def test_one_short_life_is_followed_by_an_attempt_after_a_second(self) -> None:
        backoff = Backoff(lambda: 0.0)
        assert backoff.next_delay_s(healthy_ns=NS_PER_S, maintenance=False) == 1
        assert backoff.next_delay_s(healthy_ns=NS_PER_S, maintenance=False) == 4

    def test_failures_count_from_the_last_success(self) -> None:
        backoff = Backoff(lambda: 0.0)
        delays = [backoff.next_delay_s(healthy_ns=0, maintenance=False) for _ in range(4)]
        delays.append(backoff.next_delay_s(healthy_ns=10 * NS_PER_S, maintenance=False))
        delays.append(backoff.next_delay_s(healthy_ns=0, maintenance=False))
        assert delays == [1, 2, 4, 8, 1, 2]

    def test_maintenance_allows_no_attempt_before_five_seconds(self) -> None:
        backoff = Backoff(lambda: 0.0)
        delays = [backoff.next_delay_s(healthy_ns=MINUTE_NS, maintenance=True)]
        delays += [backoff.next_delay_s(healthy_ns=0, maintenance=True) for _ in range(4)]
        assert delays == [5, 5, 5, 8, 16]

    @given(st.lists(st.tuples(st.integers(0, 10 * MINUTE_NS), st.booleans())), st.floats(0, 1, exclude_max=True))
    def test_never_hammers_and_never_gives_up(self, endings: list, jitter: float) -> None:
        backoff = Backoff(lambda: jitter)
        previous = 1.0
        for healthy_ns, maintenance in endings:
            delay = backoff.next_delay_s(healthy_ns=healthy_ns, maintenance=maintenance)
            assert delay <= 66
            assert delay >= 1 or (delay == 0 and healthy_ns >= MINUTE_NS and not maintenance)
            assert delay >= 5 or not maintenance
            previous = delay
        assert previous >= 0


class TestSubscriptionBudget:
    @given(
        st.sampled_from(sorted(RATE_PER_S)),
        st.sampled_from(sorted(SUBSCRIPTION_COST)),
        st.lists(st.integers(0, 2 * NS_PER_S), min_size=1, max_size=80),
    )
    def test_no_second_holds_more_than_kraken_allows(self, tier: str, depth: int, pauses: list) -> None:
        budget, cost, now_ns, sent = SubscriptionBudget(RATE_PER_S[tier]), SUBSCRIPTION_COST[depth], 0, []
        for pause in pauses:
            now_ns += pause // 20
            sent.append(now_ns + budget.reserve(cost, now_ns))
        assert sent == sorted(sent)
        for start in sent:
            spent = sum(cost for moment in sent if start <= moment < start + NS_PER_S)
            assert spent <= RATE_PER_S[tier]

    def test_a_subscription_alone_waits_for_nothing(self) -> None:
        assert SubscriptionBudget(200).reserve(100, 12345) == 0


class TestConnectionBudget:
    @given(st.lists(st.integers(0, 30 * NS_PER_S), max_size=400))
    def test_no_ten_minutes_hold_more_than_allowed(self, pauses: list) -> None:
        budget, now_ns, starts = ConnectionBudget(attempts=20), 0, []
        for pause in pauses:
            now_ns += pause
            starts.append(now_ns + budget.reserve(now_ns))
        for i, start in enumerate(starts[20:]):
            assert start - starts[i] >= 600 * NS_PER_S

    def test_the_first_attempts_wait_for_nothing(self) -> None:
        budget = ConnectionBudget()
        assert [budget.reserve(0) for _ in range(100)] == [0] * 100


class TestNonce:
    @given(st.lists(st.integers(0, 2**63)))
    def test_strictly_increasing_whatever_the_clock_does(self, clock: list) -> None:
        highest, seen = 0, []
        for wall_ns in clock:
            highest = next_nonce(wall_ns, highest)
            seen.append(highest)
        assert all(a < b for a, b in zip(seen, seen[1:]))
        assert all(nonce >= wall_ns for nonce, wall_ns in zip(seen, clock))


class TestPlan:
    @given(st.lists(st.text("ABC/", min_size=1), max_size=900, unique=True))
    def test_every_symbol_is_on_one_connection_and_none_is_overfull(self, symbols: list) -> None:
        parts = shards(symbols)
        assert sorted(symbol for part in parts for symbol in part) == sorted(symbols)
        assert all(0 < len(part) <= SYMBOLS_PER_CONNECTION for part in parts)
        assert len(parts) == -(-len(symbols) // SYMBOLS_PER_CONNECTION)

    def test_all_pairs_at_depth_1000_take_a_quarter_of_an_hour(self) -> None:
        plan = make_plan([f"S{i}/USD" for i in range(1450)], 1000, "standard")
        assert len(plan.shards) == 8
        assert 725 < plan.subscribe_s < 800
        low, high = plan.disk_bytes_per_day
        assert 0 < low < high

    @pytest.mark.parametrize(
        ("symbols", "depth", "tier", "redundancy"),
        [
            (1, 10, "standard", 2),
            (1200, 10, "standard", 2),
            (1201, 10, "standard", 1),  # 14 connections
            (228, 1000, "standard", 2),
            (229, 1000, "standard", 1),  # 120.5 s
            (229, 1000, "pro", 2),
        ],
    )
    def test_two_connections_a_symbol_where_the_limits_have_room(
        self, symbols: int, depth: int, tier: str, redundancy: int
    ) -> None:
        assert redundancy_for(symbols, depth, tier, "auto") == redundancy
        assert redundancy_for(symbols, depth, tier, 1) == 1
        assert redundancy_for(symbols, depth, tier, 2) == 2

    def test_what_two_connections_cost(self) -> None:
        one, two = (make_plan(["A/USD", "B/USD"], 10, "standard", redundancy) for redundancy in (1, 2))
        assert (one.connections, two.connections) == (1, 2)
        assert two.received_bytes_per_s == tuple(2 * part for part in one.received_bytes_per_s)
        assert two.disk_bytes_per_day == one.disk_bytes_per_day
