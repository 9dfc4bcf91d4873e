"""No request crashes a session: whatever comes is answered in JSON, and what was watched is let go at the end."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.exchange.answers import Now
from kraken_l3.exchange.client_session import ClientSession, Rules
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.price_levels import PriceBooks
from kraken_l3.exchange.rest import Account

WORDS = st.sampled_from(
    [
        "subscribe",
        "unsubscribe",
        "ping",
        "level3",
        "trade",
        "instrument",
        "BTC/USD",
        "ETH/USD",
        "XBT/USD",
        "good",
        "\ud800",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
PARAMS = st.fixed_dictionaries(
    {
        "channel": st.sampled_from(["level3", "level3", "trade", "instrument"]),
        "symbol": st.lists(st.sampled_from(["BTC/USD", "ETH/USD", "XBT/USD", "\ud800"]), min_size=1, max_size=3),
        "token": st.just("good"),
    },
    optional={"depth": st.sampled_from([10, 10.0, 100, 1000, True, [10]]), "snapshot": st.booleans()},
)
FIELDS = st.sampled_from(["channel", "symbol", "depth", "snapshot", "token"])
BROKEN = st.builds(lambda good, bad: {**good, **bad}, PARAMS, st.dictionaries(FIELDS, ANYTHING, max_size=2))
REQUESTS = st.fixed_dictionaries(
    {"method": st.sampled_from(["subscribe", "subscribe", "unsubscribe", "ping"]), "params": PARAMS | BROKEN},
    optional={"req_id": st.integers() | ANYTHING},
)


class Generous:
    """Knows one token, and refuses nobody."""

    account = Account("", Limits(subscriptions_per_s=10**6))

    def owner(self, token, mono_ns):
        return self.account if token == "good" else None

    def refusal(self, connection, symbol):
        return None

    def ack_depth(self, connection, symbol):
        return None


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(REQUESTS | ANYTHING, max_size=6), private=st.booleans(), raw=st.text(max_size=20))
def test_any_request_is_answered(requests, private, raw):
    feed = OrderFlow(("BTC/USD", "ETH/USD"), rate=0)
    rules = Rules(feed, dict(feed.instruments()), PriceBooks(feed), Generous(), Limits(), Generous())
    session = ClientSession(1, rules, private=private)
    for text in [json.dumps(r) for r in requests] + [raw]:
        answers = list(session.receive(text, Now(time.time_ns(), time.monotonic_ns())))
        assert answers
        for answer in answers:
            message = json.loads(answer.payload)
            assert message.get("method") or message["channel"] in ("level3", "instrument", "trade")
    assert all(depth in (10, 100, 1000) for depth in session.depths.values())
    session.end()
    assert not session.subscribed
    assert all(not watched for watched in feed._watched.values())
