"""Secrets in every form in which a server can hand them back."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.redaction import SHORTEST_PART, Redactor

#: Base64 as Kraken's are, with characters that JSON and URLs escape.
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
MASK = "[token]"


def redactor(*secrets: str) -> Redactor:
    found = Redactor()
    for secret in secrets or (SECRET,):
        found.remember(secret, "token")
    return found


def unicode_escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        SECRET.replace("/", "\\/"),
        unicode_escaped(SECRET),
        SECRET[:10] + unicode_escaped(SECRET[10:20]) + SECRET[20:],
        json.dumps(unicode_escaped(SECRET))[1:-1],
        json.dumps(json.dumps(SECRET.replace("/", "\\/"))),
        quote(SECRET, safe=""),
    ],
    ids=["raw", "json", "slash", "unicode", "mixed", "nested", "nested slash", "url"],
)
def test_it_is_found_in_every_form(form: str) -> None:
    text = redactor().redact(f'{{"reason": "no such token: {form}", "more": 1}}')
    assert MASK in text
    assert form not in text
    assert text.endswith('", "more": 1}')


def test_its_parts_are_found_too() -> None:
    """A token that is split over the reason of a close frame and a frame before it."""
    redact = redactor().redact
    for cut in range(SHORTEST_PART, len(SECRET) - SHORTEST_PART):
        assert redact(SECRET[:cut] + "!") == MASK + "!"
        assert redact("?" + SECRET[cut:]) == "?" + MASK


def test_a_short_one_is_found_as_a_whole() -> None:
    assert redactor("SESSION-T1").redact("token SESSION-T1, SESSION-T") == "token [token], SESSION-T"


def test_one_within_another_and_next_to_itself() -> None:
    assert redactor(SECRET, SECRET[20:60]).redact(SECRET + SECRET) in (MASK + MASK, MASK)
    assert redactor("ABCABC").redact("ABCABCABC") == MASK


def test_what_is_no_secret_is_left_alone() -> None:
    text = '{"channel":"level3","path":"C:\\\\data","percent":"50 %20","other":"' + SECRET[::-1] + '"}'
    assert redactor().redact(text) == text
    assert Redactor().redact(SECRET) == SECRET
    assert redactor("abc").redact("abcabc") == "abcabc"


def test_the_oldest_of_a_kind_are_forgotten() -> None:
    bounded = Redactor(limit=2)
    bounded.remember("the key of all", "api key")
    for number in range(5):
        bounded.remember(f"{SECRET[:30]}-token-{number}", "token")
    assert bounded.redact("the key of all") == "[api key]"
    assert bounded.redact(f"-token-4 {SECRET[:30]}-token-4") == f"-token-4 {MASK}"
    assert not set(bounded._labels) & {f"{SECRET[:30]}-token-0"}
    assert {secret for chunk in bounded._chunks.values() for secret, _ in chunk} <= set(bounded._labels)


@given(
    st.lists(st.text(max_size=20), min_size=2, max_size=4),
    st.data(),
    st.booleans(),
    st.integers(min_value=0, max_value=2),
)
def test_json_stays_json_and_only_the_secret_goes(
    around: list, data: st.DataObject, escaped: bool, nested: int
) -> None:
    between = data.draw(st.sampled_from(around))
    text = json.dumps({"a": between + SECRET + around[0], "b": around}, ensure_ascii=escaped)
    for _ in range(nested):
        text = json.dumps([text], ensure_ascii=escaped)
    redacted = redactor().redact(text)
    assert SECRET not in redacted.replace("\\", "")
    value = json.loads(redacted)
    for _ in range(nested):
        value = json.loads(value[0])
    assert value["b"] == around
    assert MASK in value["a"]
