"""One line from two connections: any interleaving, lags, cuts, and losses on one side."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraken_l3.exchange.flow.generate import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.arbitration import Difference, Limits, Line, OutOfStep, Ring

A, B = 1, 2
LINES = list(generate(symbols=["BTC/USD"], messages=400, seed=3))[1:]


class Two:
    """A stream, two connections that deliver it each in its own time, and the archive that a `Line` makes of it."""

    def __init__(self, stream, write=(bytes, bytes), **options):
        self.stream = stream
        self.write = dict(zip((A, B), write))
        self.line = Line(**options)
        self.at = {}  # connection -> the next message of the stream that it delivers
        self.archive = []
        self.now_ns = NS_PER_S
        self.left_edges = 0

    def subscribe(self, connection, place=0):
        self.at[connection] = place
        return self.line.snapshot(connection, self.now_ns)

    def frame(self, connection, payload):
        return Frame(self.write[connection](payload), self.now_ns, self.now_ns, connection)

    def deliver(self, connection, count=1):
        for _ in range(count):
            payload = self.stream[self.at[connection]]
            self.at[connection] += 1
            self.send(connection, payload)

    def send(self, connection, payload):
        self.archive += self.line.put(self.frame(connection, payload))

    def lose(self, connection, count=1):
        self.at[connection] += count

    def cut(self, connection):
        """The connection drops; if it led, the other one takes over."""
        result = None
        if self.line.leader == connection:
            result = self.line.hand_over(self.line.successor())
            self.archive += result.frames
        self.line.remove(connection)
        del self.at[connection]
        return result

    def pass_time(self, seconds):
        self.now_ns += int(seconds * NS_PER_S)
        self.archive += self.line.tick(self.now_ns)

    def findings(self):
        self.pass_time(1.5)
        found = list(self.line.findings)
        self.line.findings.clear()
        return found

    @property
    def payloads(self):
        return [frame.payload for frame in self.archive]


def two(stream=None, **options):
    each = Two([b"%d" % number for number in range(1000)] if stream is None else stream, **options)
    assert each.subscribe(A)
    assert not each.subscribe(B)
    return each


class TestHandOver:
    def test_what_the_follower_is_ahead_by_is_appended(self):
        run = two()
        run.deliver(A, 5)
        run.deliver(B, 8)
        result = run.cut(A)
        assert (len(result.frames), result.matched, result.behind) == (3, "bytes", 0)
        assert {frame.connection for frame in run.archive[5:]} == {B}
        run.deliver(B, 2)
        assert run.payloads == run.stream[:10]

    def test_what_the_follower_still_owes_is_skipped(self):
        run = two()
        run.deliver(B, 1)
        run.deliver(A, 8)
        result = run.cut(A)
        assert (result.frames, result.behind) == ([], 7)
        run.deliver(B, 12)
        assert run.payloads == run.stream[:13]

    def test_the_old_leader_may_live_on_as_follower_and_lead_again(self):
        run = two()
        run.deliver(A, 3)
        run.deliver(B, 6)
        run.archive += run.line.hand_over(B).frames
        run.deliver(A, 9)  # three of which are archived
        run.deliver(B, 1)
        assert run.cut(B).matched == "bytes"
        run.deliver(A, 1)
        assert run.payloads == run.stream[:13]

    def test_without_a_common_message_nothing_is_spliced(self):
        run = two()
        run.deliver(A, 3)
        assert run.line.successor() is None
        result = run.line.hand_over(B)
        assert not result.frames
        assert "no message" in result.reason
        assert run.line.leader == A

    def test_two_that_were_silent_for_long_continue_each_other(self):
        run = two()
        run.deliver(A, 3)
        run.pass_time(1)
        run.subscribe(B, 3)
        assert run.line.hand_over(B, alive_ns=run.now_ns + 9 * NS_PER_S).reason
        assert run.line.hand_over(B, alive_ns=run.now_ns + 10 * NS_PER_S).matched == "silence"
        run.deliver(B, 3)
        assert run.payloads == run.stream[:6]

    def test_a_follower_that_has_something_else_did_not_continue_in_silence(self):
        run = two()
        run.pass_time(1)
        run.subscribe(B)
        run.send(B, b"other")
        assert run.line.hand_over(B, alive_ns=run.now_ns + 10 * NS_PER_S).reason

    def test_who_leads_after_nobody_did(self):
        run = two()
        run.deliver(A, 3)
        run.deliver(B, 1)
        run.line.vacate()
        run.line.remove(A)
        run.deliver(B, 5)
        assert run.payloads == run.stream[:3]
        assert run.subscribe(B, 9)
        run.deliver(B, 2)
        assert run.payloads == run.stream[:3] + run.stream[9:11]

    def test_a_follower_that_is_resubscribed_leads_with_its_snapshot(self):
        run = two()
        run.deliver(A, 3)
        run.line.expect(B)
        run.deliver(A, 1)
        assert run.subscribe(B, 6)
        run.deliver(A, 4)
        run.deliver(B, 4)
        assert run.payloads == run.stream[:4] + run.stream[6:10]
        run.deliver(A, 2)
        assert run.line.successor() == A

    def test_a_stall_is_seen_by_what_the_follower_holds(self):
        run = two()
        run.deliver(A, 2)
        run.deliver(B, 2)
        run.pass_time(100)
        assert not run.line.stalled(run.now_ns)
        run.deliver(B, 1)
        assert not run.line.stalled(run.now_ns + 2 * NS_PER_S)
        assert run.line.stalled(run.now_ns + 4 * NS_PER_S)


class TestLosses:
    def test_a_loss_of_the_leader_alone_is_filled_in_its_place(self):
        run = two()
        run.deliver(A, 2)
        run.deliver(B, 7)
        run.lose(A, 2)
        run.deliver(A, 2)
        assert run.payloads == run.stream[:6]
        (found,) = run.findings()
        assert (found.outcome, found.messages) == ("filled", 2)

    def test_a_loss_that_is_seen_too_late_is_kept_with_what_stands_around_it(self):
        run = two()
        run.deliver(A, 2)
        run.lose(A)
        run.deliver(A, 2)
        run.deliver(B, 5)
        assert run.payloads == run.stream[:2] + run.stream[3:5]
        (found,) = run.findings()
        assert (found.outcome, found.leader, found.follower) == ("lost", A, B)
        kept = [found.before, *found.frames, found.after]
        assert [frame.payload for frame in kept] == run.stream[1:4]

    def test_a_loss_of_the_follower_changes_nothing(self):
        run = two()
        run.deliver(B, 1)
        run.lose(B)
        run.deliver(A, 5)
        run.deliver(B, 3)
        assert run.payloads == run.stream[:5]
        assert run.findings() == []
        assert run.line.follower_lost == 1

    def test_a_loss_of_the_old_leader_is_recognised_after_it_ended(self):
        run = two()
        run.deliver(A, 2)
        run.deliver(B, 2)
        run.lose(A)
        run.deliver(A, 2)
        run.cut(A)
        run.deliver(B, 5)
        assert run.payloads == run.stream[:2] + run.stream[3:7]
        assert [found.outcome for found in run.findings()] == ["lost"]

    @pytest.mark.parametrize("later", [1, 20])
    def test_a_new_leader_that_lost_what_it_owes_is_not_waited_for(self, later):
        run = two()
        run.deliver(B, 2)
        run.deliver(A, 4)
        run.cut(A)
        run.lose(B, 2)
        run.deliver(B, later)
        if later == 1:
            assert run.payloads == run.stream[:4]
            run.pass_time(1)
        assert run.payloads == run.stream[: 4 + later]

    def test_different_content_is_never_mixed(self):
        run = two()
        for number in range(5):
            run.deliver(A, 2)
            run.deliver(B)
            run.send(B, b"other %d" % number)
            run.lose(B)
        assert run.payloads == run.stream[:10]
        found = run.findings()
        assert {each.outcome for each in found} == {"conflict"}
        assert len(found) == 4

    def test_a_follower_that_keeps_differing_is_not_listened_to_until_its_next_snapshot(self):
        run = two()
        for number in range(100):
            run.deliver(A, 2)
            run.deliver(B)
            run.send(B, b"other %d" % number)
            run.lose(B)
        assert run.payloads == run.stream[:200]
        assert len(run.findings()) < 10
        assert "differing" in run.line.hand_over(B).reason
        run.subscribe(B, 200)
        run.deliver(A)
        run.deliver(B)
        assert run.line.successor() == B

    @pytest.mark.parametrize("first", [A, B])
    def test_two_messages_in_another_order_are_neither_lost_nor_there_twice(self, first):
        run = two()
        run.deliver(A)
        run.deliver(B)
        orders = {A: [1, 2, 3], B: [2, 1, 3]}
        for _ in range(3):
            for connection in (first, A + B - first):
                run.send(connection, run.stream[orders[connection].pop(0)])
        assert Counter(run.payloads) == Counter(run.stream[:4])
        assert all(found.outcome == "filled" for found in run.findings())

    def test_a_follower_whose_messages_become_others_is_not_taken_over_from(self):
        run = two()
        run.deliver(A)
        run.deliver(B)
        for number in range(20):
            run.deliver(A)
            run.send(B, b"other %d" % number)
        assert "not those" in run.line.hand_over(B).reason
        for number in range(20, 80):
            run.deliver(A)
            run.send(B, b"other %d" % number)
        assert run.line.successor() is None
        assert any(isinstance(found, OutOfStep) for found in run.findings())
        assert run.payloads == run.stream[:81]

    def test_a_new_leader_that_delivers_none_of_what_it_owes_does_not_lead(self):
        run = two()
        run.deliver(B)
        run.deliver(A, 50)
        assert run.cut(A).behind == 49
        for number in range(20):
            run.send(B, b"other %d" % number)
        assert run.line.leader is None
        assert [type(found) for found in run.findings()] == [OutOfStep]
        assert run.payloads == run.stream[:50]

    def test_what_the_follower_repeats_is_no_loss_of_the_leader(self):
        run = two()
        run.deliver(A)
        run.deliver(B, 4)
        for number in (2, 3):
            run.send(B, run.stream[number])
        run.deliver(B, 2)
        run.deliver(A, 4)
        assert run.cut(A).behind == 0
        assert run.payloads == run.stream[:6]
        assert run.findings() == []

    def test_what_was_filled_is_not_archived_again_when_the_leader_delivers_it_late(self):
        run = two()
        run.deliver(A)
        run.deliver(B, 4)
        for number in (2, 1, 3):
            run.send(A, run.stream[number])
        assert run.payloads == run.stream[:4]


class TestBounds:
    def test_a_follower_that_lags_by_more_than_is_remembered_is_not_in_step(self):
        run = two(limits=Limits(lag_ns=10 * NS_PER_S))
        run.deliver(A)
        run.deliver(B)
        for _ in range(12):
            run.deliver(A, 2)
            run.pass_time(1)
        assert any(isinstance(found, OutOfStep) and "lags" in found.reason for found in run.findings())
        run.deliver(B, 3)
        assert "lags" in run.line.hand_over(B).reason
        run.deliver(B, 17)
        assert run.line.successor() == B

    def test_a_lag_of_five_seconds_is_in_step(self):
        run = two()
        for second in range(30):
            run.deliver(A, 10)
            if second >= 5:
                run.deliver(B, 10)
            run.pass_time(1)
        result = run.cut(A)
        assert result.behind == 50
        run.deliver(B, 60)
        assert run.payloads == run.stream[:310]

    def test_held_frames_are_bounded_in_bytes(self):
        ring = Ring(100_000)
        run = two(ring=ring)
        run.deliver(A)
        run.deliver(B, 900)
        assert ring.used_bytes <= ring.limit_bytes
        assert any("MiB" in found.reason for found in run.findings())
        run.line.remove(B)
        assert ring.used_bytes == 0

    def test_held_frames_are_bounded_in_time(self):
        run = two()
        run.deliver(A)
        run.deliver(B, 10)
        run.pass_time(11)
        assert any("has not delivered" in found.reason for found in run.findings())

    def test_little_is_remembered_of_the_archive(self):
        run = two(limits=Limits(messages=10))
        run.deliver(A, 500)
        assert len(run.line._tail) == len(run.line._tail.places) == 10


def rewritten(line):
    """The same message with its keys in another order, and its numbers written otherwise."""
    message = json.loads(line, parse_float=lambda text: text + "00")
    data = dict(reversed(list(message["data"][0].items())))
    return json.dumps({"type": message["type"], "channel": "level3", "data": [data]}).encode()


def stamped(line):
    """The same message with a timestamp of its own connection's."""
    message = json.loads(line, parse_float=str)
    message["data"][0]["timestamp"] = message["data"][0]["timestamp"].replace("2026", "2027")
    return json.dumps(message).encode()


class TestContent:
    @pytest.mark.parametrize(("write", "matched"), [(rewritten, "content"), (stamped, "untimed")])
    @pytest.mark.parametrize("lag", [-20, 20])
    def test_connections_that_write_differently_are_matched_by_content(self, write, matched, lag):
        run = two(LINES, write=(bytes, write))
        run.deliver(A, max(lag, 0))
        run.deliver(B, max(-lag, 0))
        for _ in range(100):
            run.deliver(A)
            run.deliver(B)
        result = run.cut(A)
        assert result.matched == matched
        run.deliver(B, 30)
        assert [frame.payload for frame in run.archive if frame.connection == A] == LINES[: 100 + max(lag, 0)]
        assert run.payloads[100 + max(lag, 0) :] == [write(line) for line in LINES[100 + max(lag, 0) : run.at[B]]]

    @pytest.mark.parametrize("later", [rewritten, bytes])
    def test_what_a_new_leader_owes_is_not_archived_again_when_another_connection_joins(self, later):
        """Whose messages are written in a third way, or as the first one's."""
        run = two(LINES, write=(bytes, rewritten))
        for _ in range(20):
            run.deliver(A)
            run.deliver(B)
        run.deliver(A, 100)
        assert run.cut(A).behind == 100
        run.write[A] = lambda line: later(line).replace(b"{", b"{ ", 1)
        run.subscribe(A, 120)
        for _ in range(130):
            run.deliver(A)
            run.deliver(B)
        assert run.payloads == LINES[:120] + [rewritten(line) for line in LINES[120:150]]
        run.deliver(B, 100)
        assert run.payloads[120:] == [rewritten(line) for line in LINES[120:250]]
        assert run.line.successor() == A

    def test_other_content_is_looked_at_for_a_bounded_time(self):
        run = two(LINES)
        for number in range(300):
            run.deliver(A)
            run.send(B, b"other %d" % number)
        assert run.payloads == LINES[:300]
        assert run.line.successor() is None


@st.composite
def deliveries(draw):
    """Steps of a run: which connection delivers, loses, drops, or subscribes again."""
    steps = st.tuples(st.sampled_from("ddddddlcrt"), st.sampled_from((A, B)), st.integers(1, 9))
    return draw(st.lists(steps, max_size=100))


@settings(max_examples=100, deadline=None)
@example([("l", A, 1), ("d", A, 8), ("d", B, 1), ("c", A, 1)])  # all that the follower has in front of it A has lost
@given(deliveries())
def test_the_archive_is_the_stream_as_long_as_never_both_have_lost_the_same(steps):
    run = two()
    run.deliver(A)
    run.deliver(B)
    lost = {A: 0, B: 0}  # behind the last message that each lost
    end = 0
    for what, connection, count in steps:
        other = A + B - connection
        end = max([end, *run.at.values()])
        if what == "r" and connection not in run.at:
            run.subscribe(connection, end)
            run.deliver(connection)
            while run.at[other] < run.at[connection]:
                run.deliver(other)
        elif connection not in run.at:
            continue
        elif what == "d" and max(run.at.values()) + count < len(run.stream) - 20:
            run.deliver(connection, count)
        elif what == "t":
            run.pass_time(0.1)
        elif other in run.at:
            has_all = lost[other] < run.at[connection]  # what the other one lost
            if what == "c" and has_all and run.line.successor() is not None:
                run.cut(connection)
            elif what == "l" and has_all and lost[connection] < run.at[other] and run.at[connection] < 900:
                run.lose(connection, min(count, 3))
                lost[connection] = run.at[connection]
                run.deliver(connection)
    end = max([end, *run.at.values()])
    for connection in list(run.at):
        run.deliver(connection, end - run.at[connection] + 3)
    numbers = [int(payload) for payload in run.payloads]
    assert numbers == sorted(set(numbers))
    kept = {int(frame.payload) for found in run.findings() for frame in found.frames if found.outcome != "filled"}
    assert set(range(end + 3)) - set(numbers) == kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=150))
def test_with_repeated_messages_the_leader_alone_is_archived_whole(steps):
    run = two([b"%d" % (number % 7) for number in range(1000)])
    for is_leader, count in steps:
        run.deliver(A if is_leader else B, count)
    assert run.payloads == run.stream[: run.at[A]]


def test_findings_say_who_and_what():
    run = two()
    run.deliver(A, 2)
    run.deliver(B, 4)
    run.lose(A)
    run.deliver(A)
    (found,) = run.findings()
    assert isinstance(found, Difference)
    assert (found.leader, found.follower, found.leader_only) == (A, B, 0)
