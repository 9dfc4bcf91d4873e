"""The tables' columns, and the words behind their numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from kraken_l3.export import schema
from kraken_l3.export.arrow import words_of
from kraken_l3.export.records import EVENT
from kraken_l3.model.events import Action, Classification, Reason, Side, Verdict


@pytest.mark.parametrize(
    ("words", "values"), [(schema.SIDES, Side), (schema.ACTIONS, Action), (schema.CLASSIFICATIONS, Classification)]
)
def test_a_word_stands_at_its_number(words, values):
    assert {value.name.lower(): words[value.value].as_py() for value in values} == {
        value.name.lower(): value.name.lower() for value in values
    }


def test_each_verdict_has_a_word_and_one_that_is_unverifiable_tells_why():
    for verdict in Verdict:
        for reason in Reason:
            word = schema.VERDICTS[schema.VERDICT_CODES[verdict][reason]].as_py()
            expected = verdict.name.lower()
            if verdict is Verdict.UNVERIFIABLE and reason is not Reason.NONE:
                expected = f"unverifiable_{reason.name.lower()}"
            assert word == expected


def test_words_fit_their_columns():
    for words in (schema.SIDES, schema.ACTIONS, schema.CLASSIFICATIONS, schema.VERDICTS):
        assert len(words) < 128  # 8 bits with a sign
        assert len(set(words.to_pylist())) == len(words)


def test_flags_are_bits_of_their_own():
    flags = [schema.LAST, schema.SNAPSHOT, schema.BAD_RECEIVE_TIME, schema.MAYBE_BAD_BOOK]
    assert sum(flags) == (128 | 32 | 8 | 4)


def test_what_is_asked_for_is_added_behind_the_five():
    five = ["timestamp", "bid_prices", "bid_qtys", "ask_prices", "ask_qtys"]
    assert schema.snapshots_schema(wide=False, over_gap=False).names == five
    wide = schema.snapshots_schema(wide=True, over_gap=True).names
    assert wide[:5] == five
    assert wide[-1] == "over_gap"
    assert "over_gap" not in schema.snapshots_schema(wide=True, over_gap=False).names
    assert schema.snapshots_schema(wide=False, over_gap=True).names == [*five, "over_gap"]


def test_an_event_has_a_field_for_each_column():
    made = {"classification", "trade_id", "fill_confidence", "qty_change"}  # by the matcher; named otherwise
    assert set(schema.EVENTS.names) - made <= set(EVENT.names)
    assert words_of(schema.ACTIONS, np.zeros(1, "u1")).type == pa.dictionary(pa.int8(), pa.string())
