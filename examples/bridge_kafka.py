"""level3 messages as records of a Kafka topic: python examples/bridge_kafka.py SOURCE BTC/USD [COUNT]

SOURCE is "live" or an archive (see level3_source.py). Needs the package confluent-kafka; KAFKA_SERVERS is
localhost:9092 by default. The key is the pair, so that the messages of a pair stay in order.
"""

from __future__ import annotations

import asyncio
import os
import sys

from confluent_kafka import Producer
from level3_source import decoded, messages


async def main(source: str, symbol: str, count: int) -> None:
    """Idempotence keeps a retry from writing a message twice."""
    servers = os.environ.get("KAFKA_SERVERS", "localhost:9092")
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    async for payload in messages(source, symbol.split(","), count):
        while len(producer) > 50_000:  # its queue holds 100,000
            producer.poll(0.1)
        producer.produce("kraken.level3", key=decoded(payload)["symbol"], value=payload)
        producer.poll(0)
    producer.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1))
