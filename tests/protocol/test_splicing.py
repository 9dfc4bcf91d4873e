"""Where a connection stands in an archive that another recorder wrote."""

import random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kraken_l3.exchange.fault_payloads import batched, corrupted, reordered, respelled, restamped
from kraken_l3.exchange.flow.generate import generate
from kraken_l3.protocol.splicing import Splice

STREAM = list(generate(symbols=["BTC/USD"], messages=60, seed=3))
FIRST, UPDATES = STREAM[0], STREAM[1:]
#: As a connection may write it.
WRITTEN = [
    UPDATES,
    list(map(reordered, UPDATES)),
    [respelled(text, "exponent") for text in UPDATES],
    [restamped(text, 7) for text in UPDATES],
]


def snapshot_with(update):
    """A snapshot of the moment after an update, as far as its checksum and its time tell."""
    checksum = update[update.index(b'"checksum":') :][:22].split(b",")[0]
    stamp = update[update.rindex(b'"timestamp":') :]
    head = FIRST[: FIRST.index(b'"checksum":')]
    orders = FIRST[FIRST.index(b',"bids"') : FIRST.rindex(b'"timestamp":')]
    return head + checksum + orders + stamp


@given(
    begun=st.integers(0, 30),
    ended=st.integers(1, 59),
    reached=st.integers(1, 59),
    known=st.integers(1, 60),
    written=st.sampled_from(WRITTEN),
)
@settings(max_examples=50)
def test_any_end_and_any_lag_give_the_stream(begun, ended, reached, known, written):
    """The archive ends behind the connection's snapshot, and the connection has come as far as it has: what comes then
    makes the stream whole."""
    assume(begun < ended)
    archive = UPDATES[:ended]
    held = [snapshot_with(UPDATES[begun]), *written[begun + 1 : reached]]
    splice = Splice(archive[-known:], held)
    for reached_now in range(max(begun + 1, reached), len(UPDATES)):
        if splice.matched:
            break
        assert splice.may_come, splice.reason
        held.append(written[reached_now])
        splice = Splice(archive[-known:], held)
        reached = reached_now + 1
    assert splice.matched
    new = [text for text in held[len(held) - splice.ahead :] if b'"snapshot"' not in text]
    new += [text for text in written[max(reached, begun + 1) :] if splice.is_new(text)]
    assert new == written[ended:]


def test_a_symbol_that_was_silent_is_placed_by_the_checksum_of_its_snapshot():
    splice = Splice([UPDATES[9]], [snapshot_with(UPDATES[9]), *UPDATES[10:12]])
    assert (splice.matched, splice.ahead) == ("snapshot", 3)
    splice = Splice([UPDATES[9]], [snapshot_with(UPDATES[10]), *UPDATES[11:13]])
    assert (splice.matched, splice.may_come) == ("", False)
    assert "no message of the connection" in splice.reason


def test_a_snapshot_at_the_end_of_the_archive():
    again = snapshot_with(UPDATES[9])
    splice = Splice([*UPDATES[:10], again, *UPDATES[10:12]], [again, *UPDATES[10:14]])
    assert (splice.matched, splice.ahead) == ("bytes", 2)
    splice = Splice([*UPDATES[:10], again], [again, *UPDATES[10:14]])
    assert (splice.matched, splice.ahead) == ("snapshot", 5)


def test_what_the_connection_lost_in_the_middle_is_in_the_archive():
    splice = Splice(UPDATES[:20], [FIRST, *UPDATES[:10], *UPDATES[14:22]])
    assert (splice.matched, splice.ahead) == ("bytes", 2)
    splice = Splice(UPDATES[:20], [FIRST, *UPDATES[:17], *UPDATES[20:22]])
    assert (splice.matched, splice.ahead, splice.behind) == ("bytes", 2, 0)
    splice = Splice(UPDATES[:20], [FIRST, *UPDATES[:17]])
    assert (splice.ahead, splice.behind) == (0, 3)
    assert [splice.is_new(text) for text in UPDATES[18:22]] == [False, False, True, True]


def test_other_content_at_the_end_is_not_spliced():
    other = corrupted(UPDATES[19], "order_id", random.Random(1))
    splice = Splice(UPDATES[:20], [FIRST, *UPDATES[:19], other])
    assert not splice.matched
    assert "does not have" in splice.reason


def test_other_batches_are_not_spliced():
    pairs = [batched(*UPDATES[at : at + 2]) for at in range(1, 31, 2)]
    splice = Splice(UPDATES[:20], [FIRST, *pairs])
    assert (splice.matched, splice.may_come) == ("", False)


def test_without_a_message_in_the_archive_there_is_nothing_to_splice():
    assert "no message of the symbol" in Splice([], [FIRST]).reason
    assert not Splice(UPDATES[:3], []).matched
    assert not Splice([b"torn {"], [FIRST, b"\xff"]).matched
