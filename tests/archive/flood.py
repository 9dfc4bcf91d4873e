"""A real writer process under load, to be killed. Says on stdout what it has flushed and synced so far.

Usage: flood.py DIRECTORY FIRST_NUMBER
"""

import sys
import time
from pathlib import Path

from kraken_l3.archive.journal import Acknowledged, Alive, Connected, Started
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DiskFull
from kraken_l3.model.frames import Frame


def main() -> None:
    directory, number = Path(sys.argv[1]), int(sys.argv[2])
    clock = SystemClock()
    writer = ArchiveWriter.open(directory, clock=clock)
    connection = writer.last_connection + 1
    now = time.time_ns
    writer.journal(Started(at_ns=now(), version="0", host="h", boot_id="b", pid=0, config={}))
    writer.journal(Connected(at_ns=now(), connection=connection, url="x", channel="level3", symbols=["BTC/USD"]))
    writer.journal(Acknowledged(at_ns=now(), connection=connection, channel="level3", symbol="BTC/USD"))
    print("ready", flush=True)
    full = False
    while True:
        batch = []
        for _ in range(1 + number % 97):
            text = b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","n":%d,"x":"%s"}]}'
            batch.append(Frame(text % (number, b"x" * (number % 700)), now(), number, connection))
            number += 1
        try:
            writer.append("level3", batch)
            writer.flush()
            print("flushed", number, flush=True)
            if number % 7 == 0:
                writer.journal(Alive(at_ns=now(), last_frame_ns={connection: now()}))
                writer.sync()
                print("synced", number, flush=True)
        except DiskFull:
            if not full:
                print("full", number - writer.frames_lost, flush=True)
            full = True
            time.sleep(0.02)
            if writer.resume():
                full = False
                print("resumed", number, flush=True)


main()
