"""What the commands share on the screen, on terminals of several widths."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.cli.console import Screen, Table, number, plain, progress


def shown(table: Table, *, width: int = 80, terminal: bool = True) -> str:
    file = io.StringIO()
    Screen(file, width=width if terminal else None).table(table)
    return file.getvalue()


def a_table(symbol: str = "BTC/USD", **more: str) -> Table:
    table = Table("symbol", ">messages", ">gaps", "file")
    table.add(symbol, "1,234,567", "", "l3-2026-11-22.ndjson")
    return table


@given(st.text())
def test_plain_text_is_printable_and_harmless_text_stays(text: str) -> None:
    assert plain(text).isprintable()
    plain(text).encode()
    if text.isprintable():
        assert plain(text) == text


def test_escapes_of_a_terminal_are_shown_and_not_obeyed() -> None:
    assert plain("\x1b[31mred\u202eder\ud800\n") == "\\x1b[31mred\\u202eder\\ud800\\n"
    assert plain("two\nlines", lines=True) == "two\nlines"


@pytest.mark.parametrize("symbol", ["[/red]", "[bold]x", "[link=file:///etc]", "\x1b[2J", "\ud800", "a\nb"])
def test_a_symbol_is_never_markup(symbol: str) -> None:
    assert plain(symbol) in shown(a_table(symbol))


def test_a_very_long_symbol_is_shortened() -> None:
    text = shown(a_table("X" * 100_000), terminal=False)
    assert "(100,000 characters)" in text
    assert len(text) < 2_000


def test_empty_columns_are_left_out() -> None:
    text = shown(a_table())
    assert "gaps" not in text
    assert text.splitlines()[0].split() == ["symbol", "messages", "file"]


@pytest.mark.parametrize("width", [20, 30, 40, 80, 100])
def test_numbers_are_never_cut_and_text_is_folded(width: int) -> None:
    text = shown(a_table(), width=width)
    assert "1,234,567" in text
    joined = "".join(line[-20:].strip() for line in text.splitlines()[1:])
    assert "..." not in text
    assert "l3-2026" in joined.replace(" ", "") or width < 40


def test_a_pipe_gets_one_line_a_row() -> None:
    assert len(shown(a_table("A" * 90), width=80, terminal=False).splitlines()) == 2


def test_a_count_of_nothing_is_empty() -> None:
    assert (number(0), number(1234567)) == ("", "1,234,567")


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture) -> None:
    with progress("reading", 10) as on_bytes:
        on_bytes(5)
    assert capsys.readouterr() == ("", "")


def test_a_file_name_is_not_folded_where_words_can_be() -> None:
    table = Table("file", ">lines", ">plain", ">sealed", ">ratio", ">gaps", "level3")
    table.add("l3-2026-11-23.ndjson.zst", "3,621", "1.3 MiB", "155.5 KiB", "8.4", "6", "not all verifiable")
    text = shown(table, width=80)
    assert "l3-2026-11-23.ndjson.zst" in text
    assert max(map(len, text.splitlines())) <= 80
    assert {"not", "all", "verifiable"} <= set(text.split())


@pytest.mark.parametrize("width", [20, 37, 60, 80])
def test_a_column_of_words_is_folded_between_words_until_the_table_fits(width: int) -> None:
    table = Table("", "amount", "note")
    table.add("disk a day", "0.03 to 1.6 GB", "uncompressed; zstd needs an eighth of it on a usual day")
    lines = shown(table, width=width).splitlines()
    assert max(map(len, lines)) <= max(width, 36)  # no column becomes narrower than it can be read
    assert "uncompressed;" in "".join(lines) or width < 60


def test_wide_characters_take_two_columns() -> None:
    table = Table("symbol", ">lines")
    table.add("\u4e2d\u6587/USD", "1")
    table.add("BTC/USD", "2")
    assert shown(table).splitlines()[1:] == ["\u4e2d\u6587/USD      1", "BTC/USD       2"]


def test_a_paragraph_breaks_between_words_on_a_terminal_and_not_at_all_in_a_pipe() -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    for file, width in ((terminal, 20), (pipe, None)):
        Screen(file, width=width).line("l3-2026-11-22.ndjson.zst: one two three four\nnext", "red")
    assert terminal.getvalue().splitlines() == ["l3-2026-11-22.ndjson.zst:", "one two three four", "next"]
    assert pipe.getvalue() == "l3-2026-11-22.ndjson.zst: one two three four\nnext\n"
