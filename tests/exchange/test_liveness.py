"""What time does to a connection, with a connection that only remembers."""

from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.liveness import HEARTBEAT, keep_time

S = 1_000_000_000


class Remembering:
    """A connection that keeps what it was told to do."""

    def __init__(self, *, subscribed=False, next_heartbeat_ns=None):
        self.session = self
        self.subscribed = subscribed
        self.next_heartbeat_ns = next_heartbeat_ns
        self.active_ns = 0
        self.closing = False
        self.closed_ns = None
        self.done = []

    def send(self, channel, payload):
        self.done.append((channel, payload))

    def close(self, code, reason):
        if not self.closing:
            self.done.append(("close", code))
        self.closing = True

    def abort(self, *, reset):
        self.done.append(("abort", reset))


def after(connection, *times_s):
    for time_s in times_s:
        keep_time(connection, Limits(), int(time_s * S))
    return connection.done


def test_a_heartbeat_a_second_and_none_to_make_up_for_a_pause():
    beats = after(Remembering(subscribed=True, next_heartbeat_ns=S), 0.5, 1.0, 1.5, 2.0, 9.0, 9.1, 9.2, 10.5)
    assert beats == [("heartbeat", HEARTBEAT)] * 5
    assert after(Remembering(subscribed=True), 1, 5, 100) == [], "none before the first subscription"


def test_idle_connections_are_closed_and_cut_when_they_do_not_answer():
    assert after(Remembering(), 59, 60, 61) == [("close", 1000)]
    assert after(Remembering(), 61, 62, 63) == [("close", 1000)]
    assert after(Remembering(), 61, 62, 63.1) == [("close", 1000), ("abort", False)]
    assert after(Remembering(subscribed=True), 1000) == []
