"""The broker that librdkafka brings for tests. Prints its address; at a line on stdin reads a topic, and prints it.

kafka_broker.py TOPIC RECORDS
"""

import json
import sys
import time

from confluent_kafka import Consumer, Producer

topic, wanted = sys.argv[1], int(sys.argv[2])
cluster = Producer({"bootstrap.servers": "mock:1", "test.mock.num.brokers": 1, "log_level": 0})
address = ",".join(f"{each.host}:{each.port}" for each in cluster.list_topics(timeout=30).brokers.values())
print(address, flush=True)
sys.stdin.readline()
consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
records, end = [], time.monotonic() + 40
while len(records) < wanted and time.monotonic() < end:
    record = consumer.poll(1.0)
    if record is not None and not record.error():
        records.append((record.key().decode(), record.value().decode()))
consumer.close()
print(json.dumps(records))
