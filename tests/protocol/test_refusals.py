import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.protocol.refusals import Action, refusal_of, throttled_until_s


@pytest.mark.parametrize(
    ("error", "action", "word"),
    [
        ("EAPI:Invalid key", Action.FATAL, "api_key"),
        ("EAPI:Invalid signature", Action.FATAL, "api_secret"),
        ("EGeneral:Permission denied", Action.FATAL, "WebSocket interface"),
        ("EAccount:Invalid permissions", Action.FATAL, "WebSocket interface"),
        ("EAuth:Account temporary disabled", Action.FATAL, "enable the account"),
        ("EAuth:Account unconfirmed", Action.FATAL, "confirm"),
        ("EGeneral:Temporary lockout", Action.LOCKOUT, "invalid key"),
        ("EAPI:Invalid nonce", Action.NONCE, "larger nonce"),
        ("EAPI:Rate limit exceeded", Action.BACK_OFF, "key"),
        ("EGeneral:Too many requests", Action.BACK_OFF, "address"),
        ("EService: Throttled: 1700000000", Action.BACK_OFF, "time"),
        ("EService:Unavailable", Action.BACK_OFF, "status.kraken.com"),
        ("EService:Busy", Action.BACK_OFF, "busy"),
        ("EGeneral:Internal error:more", Action.BACK_OFF, "internal"),
        ("EFuture:Something new", Action.BACK_OFF, "not in Kraken's list"),
    ],
)
def test_every_documented_error_has_its_class_and_its_remedy(error: str, action: Action, word: str) -> None:
    refusal = refusal_of([error])
    assert refusal.action is action
    assert refusal.error == error
    assert word in refusal.remedy


def test_warnings_do_not_count_and_the_gravest_wins() -> None:
    refusal = refusal_of(["WGeneral:Danger", "EService:Busy", "EAPI:Invalid key", "EAPI:Invalid nonce"])
    assert refusal.action is Action.FATAL
    assert refusal_of(["WGeneral:Danger"]).action is Action.BACK_OFF


def test_a_throttle_names_its_end() -> None:
    assert throttled_until_s("EService: Throttled: 1700000000") == 1700000000
    assert throttled_until_s("EService:Throttled") == 0
    assert throttled_until_s("EService:Throttled:" + "9" * 50) == 0
    assert throttled_until_s("EService:Busy: 1700000000") == 0


@given(st.lists(st.text(max_size=400)))
def test_no_text_makes_it_raise_or_grow(errors: list) -> None:
    assert len(refusal_of(errors).error) <= 200
