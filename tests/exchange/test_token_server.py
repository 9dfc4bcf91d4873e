"""Which token requests are good: the rules without sockets, signed by the strangers' own code."""

from strangers import sign

from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.rest import KEY_INFO_PATH, TokenServer

S = 1_000_000_000
KEYS = {"one": "b25l", "two": "dHdv"}
FORM = "application/x-www-form-urlencoded"


def ask(server, key, nonce, at_ns=0, body=None):
    body = body or f"nonce={nonce}".encode()
    headers = {"API-Key": key, "API-Sign": sign(KEYS.get(key, ""), nonce, body), "Content-Type": FORM}
    return server.answer(headers, body, at_ns)


def token(*where):
    return ask(*where)["result"]["token"]


def test_each_key_has_its_own_nonce_and_its_own_counter():
    server = TokenServer(KEYS, Limits(rest_counter=2, rest_decay_per_s=0))
    assert ask(server, "one", 1000)["error"] == []
    assert ask(server, "two", 5)["error"] == [], "a lower nonce of another key"
    assert ask(server, "one", 1000)["error"] == ["EAPI:Invalid nonce"]
    assert ask(server, "one", 1001)["error"] == ["EAPI:Rate limit exceeded"]
    assert ask(server, "two", 6)["error"] == []
    assert server.given == 3


def test_a_token_belongs_to_its_key_and_ends_in_time():
    server = TokenServer(KEYS, Limits())
    first, second = token(server, "one", 1), token(server, "two", 1)
    assert server.owner(first, 0) is not server.owner(second, 0)
    assert server.owner(first, 900 * S - 1) is not None
    for nothing in (server.owner(first, 900 * S), server.owner("made up", 0), server.owner(None, 0)):
        assert nothing is None
    server.expire_all()
    assert server.owner(second, 0) is None


def test_what_a_key_may_do_is_told_without_any_permission():
    server = TokenServer(KEYS, Limits())
    server.permissions = ("query-funds",)
    body = b"nonce=5"
    headers = {"API-Key": "one", "API-Sign": sign(KEYS["one"], 5, body, KEY_INFO_PATH), "Content-Type": FORM}
    told = server.key_info(headers, body, 0)
    assert (told["error"], told["result"]["permissions"], told["result"]["nonce"]) == ([], ["query-funds"], "5")
    assert server.key_info(headers, body, 0) == {"error": ["EAPI:Invalid nonce"]}
    assert ask(server, "one", 6)["error"] == ["EGeneral:Permission denied"]


def test_tokens_that_have_ended_are_forgotten():
    server = TokenServer(KEYS, Limits())
    for nonce in range(1, 200):
        last = token(server, "one", nonce, nonce * 100 * S)
    assert server.kept == 9
    assert server.owner(last, 199 * 100 * S) is not None


def test_a_signature_of_other_bytes_uses_no_nonce_up():
    server = TokenServer(KEYS, Limits())
    body = b"nonce=7&otp=1"
    forged = {"API-Key": "one", "API-Sign": sign(KEYS["one"], 7, b"nonce=7"), "Content-Type": FORM}
    assert server.answer(forged, body, 0)["error"] == ["EAPI:Invalid signature"]
    assert ask(server, "one", 7, body=body)["error"] == []


def test_bodies_that_are_nothing():
    server = TokenServer(KEYS, Limits(rest_counter=1000))
    for kind in ("application/json", FORM, ""):
        for body in (b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"nonce":true}', b'{"nonce":"\\ud800"}', b"nonce="):
            headers = {"API-Key": "one", "API-Sign": sign(KEYS["one"], "", body), "Content-Type": kind}
            assert server.answer(headers, body, 0)["error"][0] in ("EAPI:Invalid nonce", "EAPI:Invalid signature")
