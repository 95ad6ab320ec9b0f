"""Consumer `billing.write-invoice` of `order.placed` v1. Usage: receiver.py <amqp url> <sqlite file>

The message id and the effect are one local transaction. The receipt follows the commit, and the ack follows the receipt.
If the process dies anywhere, the broker delivers the message again, and the id in `inbox` tells that it is a duplicate.
"""
import hashlib
import json
import sqlite3
import sys

import pika

CONSUMER = "billing.write-invoice"
TYPE = "order.placed.v1"
QUEUE = f"dtx.{CONSUMER}.v1.quorum"

db = sqlite3.connect(sys.argv[2])
db.execute("CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, outcome TEXT, body BLOB)")
db.execute("CREATE TABLE IF NOT EXISTS invoice (order_id TEXT, amount INTEGER)")


def read(properties, body):
    """The order, or None if the message can never be handled."""
    try:
        order = json.loads(body)
        fits = isinstance(order["orderId"], str) and isinstance(order["amount"], int)
        return order if fits and properties.type == TYPE and properties.message_id else None
    except (ValueError, KeyError, TypeError):
        return None


def settle(properties, body):
    """Writes one invoice per message id. A message that cannot be read is kept for a person, with outcome PARKED."""
    order = read(properties, body)
    outcome = "HANDLED" if order else "PARKED"
    key = properties.message_id or hashlib.sha256(body).hexdigest()
    with db:
        first = db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?, ?)", (key, outcome, body)).rowcount == 1
        if first and order:
            db.execute("INSERT INTO invoice VALUES (?, ?)", (order["orderId"], order["amount"]))
    print(outcome if first else "DUPLICATE", key, flush=True)
    return outcome


def receive(channel, method, properties, body):
    receipt = {"messageId": properties.message_id, "consumer": CONSUMER, "outcome": settle(properties, body)}
    if properties.reply_to and properties.message_id:
        about = pika.BasicProperties(type="dtx.receipt.v1", content_type="application/json", delivery_mode=2)
        channel.basic_publish("", properties.reply_to, json.dumps({"receipts": [receipt]}), about)
    channel.basic_ack(method.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
channel.basic_qos(prefetch_count=20)
channel.basic_consume(QUEUE, receive)
channel.start_consuming()
