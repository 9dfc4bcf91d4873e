"""Who is silent for too long."""

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.silence import SilenceWatch

MINUTE = 60 * NS_PER_S


def spoken(spacing_ns, times=30):
    watch = SilenceWatch()
    for n in range(times):
        watch.messages("A", 1, n * spacing_ns)
    return watch, (times - 1) * spacing_ns


def test_a_busy_symbol_has_ten_minutes():
    watch, last = spoken(NS_PER_S)
    assert watch.silent(last + 10 * MINUTE, {"A"}) == []
    assert watch.silent(last + 10 * MINUTE + 1, {"A"}) == [("A", 10 * MINUTE + 1)]


def test_a_slow_symbol_has_twenty_times_its_spacing():
    watch, last = spoken(2 * MINUTE)
    assert watch.silent(last + 40 * MINUTE, {"A"}) == []
    assert watch.silent(last + 40 * MINUTE + 1, {"A"}) != []


def test_many_messages_at_once_are_a_short_spacing():
    watch = SilenceWatch()
    for n in range(30):
        watch.messages("A", 1000, n * MINUTE)
    assert watch.silent(29 * MINUTE + 11 * MINUTE, {"A"}) != []


def test_it_is_told_once_until_it_speaks_again():
    watch, last = spoken(NS_PER_S)
    assert len(watch.silent(last + 11 * MINUTE, {"A"})) == 1
    assert watch.silent(last + 22 * MINUTE, {"A"}) == []
    watch.messages("A", 1, last + 23 * MINUTE)
    assert watch.silent(last + 24 * MINUTE, {"A"}) == []
    assert len(watch.silent(last + 34 * MINUTE, {"A"})) == 1


def test_while_not_connected_no_silence_counts():
    watch, last = spoken(NS_PER_S)
    assert watch.silent(last + 60 * MINUTE, set()) == []
    assert watch.silent(last + 65 * MINUTE, {"A"}) == []
    assert watch.silent(last + 71 * MINUTE, {"A"}) == [("A", 11 * MINUTE)]


def test_trades_without_messages_shorten_it():
    watch, last = spoken(NS_PER_S)
    for n in range(5):
        assert watch.silent(last + 2 * MINUTE, {"A"}) == []
        watch.trade("A", last + n + 1)
    watch.trade("unknown", last)
    assert watch.silent(last + MINUTE, {"A"}) == []
    assert watch.silent(last + MINUTE + 1, {"A"}) == [("A", MINUTE + 1)]


def test_trades_from_before_the_last_message_do_not_count():
    watch, last = spoken(NS_PER_S)
    for _ in range(9):
        watch.trade("A", last - 1)
    assert watch.silent(last + 2 * MINUTE, {"A"}) == []
