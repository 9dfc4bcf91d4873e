"""What the sent log keeps, in memory and on disk."""

from kraken_l3.exchange.sent_log import Sent, SentLog


def test_messages_in_order_by_connection_and_channel():
    log = SentLog()
    for sent in [Sent(1, "status", b"s"), Sent(1, "level3", b"a"), Sent(2, "level3", b"b"), Sent(1, "heartbeat", b"h")]:
        log.add(*sent)
    assert log.payloads() == [b"a", b"b"]
    assert log.payloads(2) == [b"b"]
    assert log.payloads(1, "status") == [b"s"]
    assert log.payloads(channel="heartbeat") == [], "one a second says nothing"
    assert (log.count, log.level3_count, log.whole) == (4, 2, True)


def test_the_memory_is_bounded_and_the_log_says_so():
    log = SentLog(memory_bytes=10)
    for payload in (b"12345", b"67890", b"x", b""):
        log.add(1, "level3", payload)
    assert log.payloads() == [b"12345", b"67890"], "and nothing behind the first that was left out"
    assert not log.whole
    assert log.level3_count == 4


def test_files_have_a_line_and_a_number_each(tmp_path):
    path = tmp_path / "sent.ndjson"
    log = SentLog(keep=False, path=path)
    log.add(3, "level3", b"{}")
    log.add(3, "answer", b"not this")
    log.add(12, "level3", b"[]")
    log.flush()
    assert path.read_bytes() == b"{}\n[]\n"
    assert (tmp_path / "sent.ndjson.connections").read_bytes() == b"3\n12\n"
    log.close()
    log.close()
    assert log.messages == []
