"""The session's table, row by row, and then everything at once under Hypothesis."""

from typing import Optional

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.frames import Response, Status
from kraken_l3.protocol.session import (
    ANSWER_NS,
    RATE_RETRY_S,
    RETRY_S,
    SNAPSHOT_NS,
    STATUS_WAIT_NS,
    TOKEN_REFUSALS_MAX,
    Acked,
    Dead,
    Session,
    Snapshotted,
    SymbolRejected,
    SymbolState,
    TokenRefused,
)

LIVENESS_NS = 10 * NS_PER_S
ONLINE = Status(system="online")


def opened(*symbols: str, snapshot: bool = True) -> Session:
    session = Session(symbols, now_ns=0, liveness_ns=LIVENESS_NS, wants_snapshot=snapshot)
    session.status(ONLINE)
    return session


def accepted(req_id: Optional[int], symbol: Optional[str] = None) -> Response:
    return Response(method="subscribe", success=True, req_id=req_id, symbol=symbol)


def refused(req_id: Optional[int], error: str, symbol: Optional[str] = None) -> Response:
    return Response(method="subscribe", success=False, req_id=req_id, error=error, symbol=symbol)


def make_live(session: Session, symbol: str, now_ns: int = 1) -> None:
    request = session.next_request(now_ns)
    assert request is not None
    assert request.symbol == symbol
    session.response(accepted(request.req_id), now_ns)
    assert session.snapshot(symbol, now_ns) == [Snapshotted(symbol)]


def test_an_acknowledgement_that_is_repeated_is_told_once() -> None:
    session = opened("A/B")
    make_live(session, "A/B")
    assert session.response(accepted(None, "A/B"), 2) == []
    assert session.resync("A/B")
    session.next_request(3)
    session.response(Response(method="unsubscribe", success=True, symbol="A/B"), 3)
    request = session.next_request(4)
    assert request is not None
    assert session.response(accepted(request.req_id), 4) == [Acked("A/B", None)]
    assert session.response(accepted(None, "A/B"), 5) == []


class TestOpening:
    def test_nothing_is_asked_for_before_the_status(self) -> None:
        session = Session(["A/B"], now_ns=0, liveness_ns=LIVENESS_NS)
        assert session.next_request(1) is None
        session.status(ONLINE)
        assert session.next_request(2) is not None

    def test_a_status_that_never_comes_is_not_waited_for_for_ever(self) -> None:
        session = Session(["A/B"], now_ns=0, liveness_ns=LIVENESS_NS)
        assert not session.has_request(STATUS_WAIT_NS - 1)
        assert session.has_request(STATUS_WAIT_NS)

    def test_no_answer_to_the_first_subscription_is_the_end(self) -> None:
        session = opened("A/B")
        session.next_request(0)
        assert session.tick(ANSWER_NS - 1, ANSWER_NS - 1) == []
        (event,) = session.tick(ANSWER_NS, ANSWER_NS)
        assert isinstance(event, Dead)
        assert event.cause == "silence"


class TestSubscribing:
    def test_ack_then_snapshot(self) -> None:
        session = opened("A/B")
        request = session.next_request(1)
        assert request is not None
        assert (request.method, request.symbol) == ("subscribe", "A/B")
        assert session.next_request(1) is None
        assert session.response(Response(method="subscribe", success=True, req_id=1, depth=10), 2) == [Acked("A/B", 10)]
        assert session.state("A/B") is SymbolState.ACKED
        assert session.snapshot("A/B", 3) == [Snapshotted("A/B")]
        assert session.state("A/B") is SymbolState.LIVE
        assert session.snapshot("A/B", 4) == []

    def test_a_snapshot_may_overtake_its_acknowledgement(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        assert session.snapshot("A/B", 2) == [Snapshotted("A/B")]
        assert session.response(accepted(1), 3) == [Acked("A/B", None)]
        assert session.state("A/B") is SymbolState.LIVE

    def test_without_snapshots_the_acknowledgement_is_enough(self) -> None:
        session = opened("A/B", snapshot=False)
        session.next_request(1)
        assert session.response(accepted(1), 2) == [Acked("A/B", None), Snapshotted("A/B")]

    def test_no_snapshot_for_a_minute_subscribes_anew(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        session.response(accepted(1), 1)
        session.tick(1 + SNAPSHOT_NS, SNAPSHOT_NS)
        request = session.next_request(SNAPSHOT_NS + 2)
        assert request is not None
        assert request.method == "unsubscribe"

    def test_one_that_is_not_answered_while_others_are_is_rejected(self) -> None:
        session = opened("A/B", "C/D")
        make_live(session, "A/B", 0)
        session.next_request(0)
        (event,) = session.tick(ANSWER_NS, ANSWER_NS)
        assert isinstance(event, SymbolRejected)
        assert event.symbol == "C/D"

    def test_a_channel_without_symbols(self) -> None:
        session = Session([None], now_ns=0, liveness_ns=LIVENESS_NS, wants_snapshot=False)
        session.status(ONLINE)
        request = session.next_request(1)
        assert request is not None
        assert request.symbol is None
        assert session.response(accepted(None), 2) == [Acked(None, None), Snapshotted(None)]


class TestRejection:
    def test_by_req_id_though_the_answer_names_no_symbol(self) -> None:
        session = opened("A/B", "C/D")
        session.next_request(1)
        second = session.next_request(1)
        assert second is not None
        (event,) = session.response(refused(second.req_id, "Currency pair not supported"), 2)
        assert event == SymbolRejected("C/D", "Currency pair not supported", RETRY_S[0])

    def test_by_symbol_though_the_answer_has_no_req_id(self) -> None:
        session = opened("A/B", "C/D")
        session.next_request(1)
        session.next_request(1)
        (event,) = session.response(refused(None, "no", "C/D"), 2)
        assert isinstance(event, SymbolRejected)
        assert event.symbol == "C/D"

    def test_an_anonymous_one_is_the_oldest_request(self) -> None:
        session = opened("A/B", "C/D")
        session.next_request(1)
        session.next_request(1)
        (event,) = session.response(refused(None, "Malformed request"), 2)
        assert isinstance(event, SymbolRejected)
        assert event.symbol == "A/B"

    def test_an_anonymous_acknowledgement_is_the_oldest_request_too(self) -> None:
        session = opened("A/B", "C/D")
        session.next_request(1)
        session.next_request(1)
        assert session.response(accepted(None), 2) == [Acked("A/B", None)]
        assert session.response(accepted(None), 3) == [Acked("C/D", None)]

    def test_is_asked_for_again_on_a_schedule_that_slows_down(self) -> None:
        session, now_ns, waits = opened("A/B"), 0, []
        for _ in range(len(RETRY_S) + 2):
            request = session.next_request(now_ns)
            assert request is not None
            (event,) = session.response(refused(request.req_id, "never"), now_ns)
            assert isinstance(event, SymbolRejected)
            waits.append(event.retry_s)
            session.tick(now_ns + event.retry_s * NS_PER_S - 1, now_ns + event.retry_s * NS_PER_S - 1)
            assert not session.has_request(now_ns + event.retry_s * NS_PER_S - 1)
            now_ns += event.retry_s * NS_PER_S
            session.tick(now_ns, now_ns)
        assert waits == [*RETRY_S, RETRY_S[-1], RETRY_S[-1]]

    def test_a_rate_limit_passes_sooner(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        (event,) = session.response(refused(1, "Exceeded msg rate"), 2)
        assert event == SymbolRejected("A/B", "Exceeded msg rate", RATE_RETRY_S[0])

    def test_the_others_are_healthy_meanwhile(self) -> None:
        session = opened("A/B", "C/D")
        make_live(session, "A/B")
        assert session.healthy_ns(100) == 0
        session.next_request(2)
        session.response(refused(2, "no"), 10)
        assert session.healthy_ns(100) == 90

    def test_alone_it_is_not_health(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        session.response(refused(1, "no"), 2)
        assert session.healthy_ns(100 * NS_PER_S) == 0

    def test_already_subscribed_leaves_first(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        assert session.response(refused(1, "Already subscribed"), 2) == []
        request = session.next_request(3)
        assert request is not None
        assert request.method == "unsubscribe"


class TestToken:
    def test_a_refused_token_is_replaced_and_the_symbol_asked_for_again(self) -> None:
        session = opened("A/B")
        session.next_request(1)
        assert session.response(refused(1, "ESession:Invalid session"), 2) == [
            TokenRefused("A/B", "ESession:Invalid session")
        ]
        request = session.next_request(3)
        assert request is not None
        assert request.symbol == "A/B"

    def test_but_not_for_ever(self) -> None:
        session = opened("A/B")
        for _ in range(TOKEN_REFUSALS_MAX):
            request = session.next_request(1)
            assert request is not None
            session.response(refused(request.req_id, "EAPI:Invalid token"), 2)
        request = session.next_request(3)
        assert request is not None
        (event,) = session.response(refused(request.req_id, "EAPI:Invalid token"), 4)
        assert isinstance(event, SymbolRejected)


class TestResync:
    def test_unsubscribes_then_subscribes(self) -> None:
        session = opened("A/B")
        make_live(session, "A/B")
        assert session.resync("A/B")
        assert not session.resync("A/B")
        request = session.next_request(2)
        assert request is not None
        assert request.method == "unsubscribe"
        assert session.next_request(2) is None
        session.response(Response(method="unsubscribe", success=True, req_id=request.req_id), 3)
        again = session.next_request(4)
        assert again is not None
        assert again.method == "subscribe"

    def test_goes_on_when_unsubscribing_is_refused_or_not_answered(self) -> None:
        for answer in (True, False):
            session = opened("A/B")
            make_live(session, "A/B")
            session.resync("A/B")
            request = session.next_request(2)
            assert request is not None
            if answer:
                session.response(refused(request.req_id, "Subscription Not Found"), 3)
            else:
                session.tick(2 + ANSWER_NS, 2 + ANSWER_NS)
            assert session.state("A/B") is SymbolState.WAITING

    def test_of_a_symbol_that_is_not_whole_does_nothing(self) -> None:
        session = opened("A/B")
        assert not session.resync("A/B")
        assert not session.resync("X/Y")

    def test_a_symbol_being_left_goes_missing_with_the_connection(self) -> None:
        session = opened("A/B", "C/D")
        make_live(session, "A/B")
        session.resync("A/B")
        assert session.known_whole() == ["A/B"]

    def test_an_anonymous_answer_is_not_for_one_that_was_sent_anew_long_ago(self) -> None:
        session = opened("A/B", "C/D")
        make_live(session, "A/B")
        session.resync("A/B")
        unsubscribe = session.next_request(2)
        assert unsubscribe is not None
        session.response(Response(method="unsubscribe", success=True, req_id=unsubscribe.req_id), 3)
        make_live(session, "A/B", 4)
        session.next_request(5)
        assert session.response(accepted(None), 6) == [Acked("C/D", None)]

    def test_a_late_acknowledgement_is_not_taken_for_that_of_leaving(self) -> None:
        session = opened("A/B")
        first = session.next_request(1)
        assert first is not None
        session.snapshot("A/B", 2)  # it overtook its acknowledgement
        session.resync("A/B")
        leave = session.next_request(3)
        assert leave is not None
        session.response(accepted(first.req_id), 4)
        assert session.state("A/B") is SymbolState.LEAVING
        session.response(Response(method="unsubscribe", success=True, req_id=leave.req_id), 5)
        assert session.state("A/B") is SymbolState.WAITING

    def test_leaving_that_is_answered_late_does_not_acknowledge_the_next_subscription(self) -> None:
        session = opened("A/B")
        make_live(session, "A/B")
        session.resync("A/B")
        leave = session.next_request(2)
        assert leave is not None
        session.tick(2 + ANSWER_NS, 2 + ANSWER_NS)
        assert session.next_request(3 + ANSWER_NS) is not None
        assert session.response(Response(method="unsubscribe", success=True, req_id=leave.req_id), 4 + ANSWER_NS) == []
        assert session.state("A/B") is SymbolState.REQUESTED


class TestLiveness:
    def test_silence_is_the_end(self) -> None:
        session = opened("A/B")
        make_live(session, "A/B")
        assert session.tick(LIVENESS_NS + 1, 1) == []
        (event,) = session.tick(LIVENESS_NS + 2, 1)
        assert isinstance(event, Dead)
        assert event.cause == "silence"

    def test_a_ping_asks_for_a_sign_of_life_until_there_are_heartbeats(self) -> None:
        session = opened("A/B")
        assert session.next_ping(LIVENESS_NS // 2 - 1, 0) is None
        ping = session.next_ping(LIVENESS_NS // 2, 0)
        assert ping is not None
        assert ping.method == "ping"
        assert session.next_ping(LIVENESS_NS // 2 + 1, 0) is None
        make_live(session, "A/B")
        assert session.next_ping(100 * LIVENESS_NS, 0) is None


class AnyOrder(RuleBasedStateMachine):
    """Whatever order frames and time come in, no symbol is lost and nothing is asked for twice at once."""

    names = ("A/B", "C/D", "E/F")

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.session = Session(self.names, now_ns=0, liveness_ns=LIVENESS_NS)
        self.asked: dict = {}
        self.dead = False

    def take(self, events: list) -> None:
        self.dead = self.dead or any(isinstance(event, Dead) for event in events)

    @rule()
    def status(self) -> None:
        self.session.status(ONLINE)

    @precondition(lambda self: self.session.has_request(self.now_ns))
    @rule()
    def request(self) -> None:
        request = self.session.next_request(self.now_ns)
        assert request is not None
        assert request.req_id not in self.asked
        self.asked[request.req_id] = request

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), success=st.booleans(), error=st.sampled_from(["no", "Already subscribed", "invalid session"]))
    def answer(self, data: st.DataObject, success: bool, error: str) -> None:
        req_id = data.draw(st.sampled_from(sorted(self.asked)))
        request = self.asked[req_id]
        response = Response(method=request.method, success=success, error="" if success else error, req_id=req_id)
        self.take(self.session.response(response, self.now_ns))

    @rule(error=st.text(max_size=20))
    def anonymous_error(self, error: str) -> None:
        self.take(self.session.response(Response(method="error", success=False, error=error), self.now_ns))

    @rule(name=st.sampled_from([*names, "X/Y"]))
    def snapshot(self, name: str) -> None:
        self.take(self.session.snapshot(name, self.now_ns))

    @rule(name=st.sampled_from(names))
    def resync(self, name: str) -> None:
        self.session.resync(name)

    @rule(seconds=st.integers(0, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * NS_PER_S
        self.take(self.session.tick(self.now_ns, self.now_ns))

    @invariant()
    def every_symbol_goes_on_by_itself(self) -> None:
        """From any state, time alone leads to a request, to life, or to a dead connection: nothing waits for ever."""
        for name in self.names:
            state = self.session.state(name)
            if state is SymbolState.WAITING and not self.dead:
                assert self.session.has_request(self.now_ns + STATUS_WAIT_NS)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
