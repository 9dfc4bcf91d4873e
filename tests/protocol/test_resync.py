from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.resync import FORGET_NS, PAUSES_S, QUARANTINE_AFTER, ResyncPolicy


def test_the_first_is_granted_at_once_then_pauses_grow_to_quarantine() -> None:
    policy, now_ns, waits = ResyncPolicy(), 0, []
    for attempt in range(1, 9):
        wait_ns = policy.wait_ns("A/B", now_ns)
        waits.append(wait_ns // NS_PER_S)
        now_ns += wait_ns
        assert policy.done("A/B", now_ns) == attempt
    assert waits == [0, 5, 15, 60, 300, 3600, 3600, 3600]
    assert PAUSES_S[QUARANTINE_AFTER] == 3600


def test_a_symbol_that_was_left_in_peace_starts_anew() -> None:
    policy = ResyncPolicy()
    assert [policy.done("A/B", 0), policy.done("A/B", 5 * NS_PER_S)] == [1, 2]
    later = 5 * NS_PER_S + 15 * NS_PER_S + FORGET_NS + 1
    assert policy.wait_ns("A/B", later) == 0
    assert policy.done("A/B", later) == 1


def test_symbols_do_not_wait_for_each_other() -> None:
    policy = ResyncPolicy()
    policy.done("A/B", 0)
    assert policy.wait_ns("A/B", 1) > 0
    assert policy.wait_ns("C/D", 1) == 0


@given(st.lists(st.integers(0, 4000 * NS_PER_S), max_size=60))
def test_never_a_storm(pauses: list) -> None:
    """Whatever is wished for, an hour sees at most a handful of resyncs of one symbol."""
    policy, now_ns, done = ResyncPolicy(), 0, []
    for pause in pauses:
        now_ns += pause // 50
        if policy.wait_ns("A/B", now_ns) == 0:
            policy.done("A/B", now_ns)
            done.append(now_ns)
    for start in done:
        assert sum(start <= moment < start + 600 * NS_PER_S for moment in done) <= QUARANTINE_AFTER + 1
