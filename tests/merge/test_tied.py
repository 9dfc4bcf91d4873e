"""Lines of one timestamp, from several sources, in one order."""

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.merge.tied import merge_tied


def keyed(text: str) -> list[tuple[str, int]]:
    return [(letter, number) for number, letter in enumerate(text)]


def order(leader: str, *others: str) -> tuple[str, list[str]]:
    """The letters in their order, and those in conflict."""
    sources = [leader, *others]
    merged, conflicts = merge_tied(dict(enumerate(map(keyed, sources))), 0)
    letters = [{sources[rank][line] for rank, line in holders.items()} for holders in merged]
    assert all(len(each) == 1 for each in letters)
    return "".join(next(iter(each)) for each in letters), [sources[rank][line] for rank, line in conflicts]


def test_what_one_has_alone_is_put_between() -> None:
    assert order("abd", "acd") == ("abd", ["c"])
    assert order("ad", "abcd") == ("abcd", [])
    assert order("abcd", "ad") == ("abcd", [])
    assert order("ab", "bc", "ax") == ("abc", ["x"])
    assert order("aab", "abb") == ("aabb", [])
    assert order("ab", "xy") == ("ab", ["x", "y"])


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_losses_of_one_stream_are_no_conflict_where_the_other_has_all(first: list[bool], second: list[bool]) -> None:
    whole = "abcdefghijkl"[: len(first)]
    one, other = ("".join(c for c, it in zip(whole, has) if it) for has in (first, second))
    assert order(whole, one, other) == (whole, [])
    assert order(one, whole) == (whole, [])
