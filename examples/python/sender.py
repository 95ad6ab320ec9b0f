"""App `billing` sends `invoice.issued` v1. Usage: sender.py <amqp url> <sqlite file> [<order id> <amount>]

The invoice and its outbox rows are one local transaction, one row per consumer. A row is sent until its receipt arrives.
If the process dies anywhere, the next start sends the open rows again, and the receiver recognises the message id.
"""
import json
import sqlite3
import sys
import time
import uuid

import pika

TYPE = "invoice.issued.v1"
CONSUMERS = ["order.attach-invoice"]
RECEIPTS = "dtx.billing.receipts.v1.quorum"
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
RESEND_SECONDS = 10

db = sqlite3.connect(sys.argv[2])
db.execute("CREATE TABLE IF NOT EXISTS invoice (order_id TEXT, amount INTEGER)")
db.execute("CREATE TABLE IF NOT EXISTS outbox (id TEXT, consumer TEXT, gid TEXT, body TEXT, made_at TEXT)")


def issue(order_id, amount):
    body = json.dumps({"orderId": order_id, "amount": amount})
    message_id, made_at = str(uuid.uuid4()), str(int(time.time() * 1000))
    with db:
        db.execute("INSERT INTO invoice VALUES (?, ?)", (order_id, amount))
        rows = [(message_id, consumer, order_id, body, made_at) for consumer in CONSUMERS]
        db.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?, ?)", rows)


def send(channel, rows):
    for message_id, consumer, gid, body, made_at in rows:
        about = pika.BasicProperties(
            message_id=message_id, type=TYPE, correlation_id=gid, reply_to=RECEIPTS, headers={"dtx-made-at": made_at},
            content_type="application/json", delivery_mode=2)
        channel.basic_publish("", f"dtx.{consumer}.v1.quorum", body, about, mandatory=True)


def take_receipts(channel):
    """Ends when no row is open, or when no receipt has arrived for a while."""
    for method, _, body in channel.consume(RECEIPTS, inactivity_timeout=RESEND_SECONDS):
        if method is None:
            return
        with db:
            for receipt in json.loads(body)["receipts"]:
                db.execute("DELETE FROM outbox WHERE id = ? AND consumer = ?", (receipt["messageId"], receipt["consumer"]))
        channel.basic_ack(method.delivery_tag)
        if not open_rows():
            return


def open_rows():
    return db.execute("SELECT id, consumer, gid, body, made_at FROM outbox").fetchall()


if len(sys.argv) > 3:
    issue(sys.argv[3], int(sys.argv[4]))
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.confirm_delivery()
for queue in [RECEIPTS, *(f"dtx.{consumer}.v1.quorum" for consumer in CONSUMERS)]:
    channel.queue_declare(queue, durable=True, arguments=QUORUM)
while open_rows():
    send(channel, open_rows())
    take_receipts(channel)
