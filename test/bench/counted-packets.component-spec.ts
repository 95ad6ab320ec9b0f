import { connect } from 'amqplib';
import { type Connection, createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AmqpProxy } from '../../tools/src/commands/bench/amqp-publishes.js';
import { SqlProxy } from '../../tools/src/commands/bench/sql-packets.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';

let sandbox: Sandbox;
let proxy: SqlProxy;
let connection: Connection;

beforeAll(async () => {
  sandbox = await freshSandbox('bench_packets', { audited: false });
  proxy = await SqlProxy.start(sandbox.databases.order);
  connection = await createConnection({ uri: proxy.url, multipleStatements: true });
  await connection.query('CREATE TABLE counted (id INT PRIMARY KEY, note LONGTEXT)');
});

afterAll(async () => {
  await connection?.end();
  await proxy?.close();
});

/** Commands at the proxy, and statements as the session of the server counts them. */
async function countsOf(work: () => Promise<unknown>) {
  const questions = async () => {
    const [rows] = await connection.query("SHOW SESSION STATUS LIKE 'Questions'");
    return Number((rows as Array<{ Value: string }>)[0]!.Value);
  };
  const before = await questions();
  const commands = proxy.commands;
  await work();
  const packets = proxy.commands - commands;
  return { packets, statements: (await questions()) - before - 1 };
}

test('each statement of its own is one packet, as the server counts it', async () => {
  const counts = await countsOf(async () => {
    await connection.beginTransaction();
    await connection.query('INSERT INTO counted VALUES (1, NULL), (2, NULL)');
    await connection.query('SELECT * FROM counted');
    await connection.commit();
  });
  expect(counts).toEqual({ packets: 4, statements: 4 });
});

test('statements that are sent together are one packet', async () => {
  const counts = await countsOf(() =>
    connection.query('START TRANSACTION; INSERT INTO counted VALUES (3, NULL); COMMIT'),
  );
  expect(counts).toEqual({ packets: 1, statements: 3 });
});

test('a prepared statement is one packet more at its first execution alone', async () => {
  const execute = () => connection.execute('SELECT * FROM counted WHERE id = ?', [1]);
  expect((await countsOf(execute)).packets).toBe(2);
  expect((await countsOf(execute)).packets).toBe(1);
});

test('a statement of a million bytes is one packet', async () => {
  const insert = () => connection.query('INSERT INTO counted VALUES (4, ?)', ['x'.repeat(1_000_000)]);
  expect((await countsOf(insert)).packets).toBe(1);
});

test('published messages are counted, and neither deliveries nor acks', async () => {
  const broker = await AmqpProxy.start(sandbox.rabbitmq);
  const client = await connect(broker.url);
  const channel = await client.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const size of [0, 10, 300_000]) channel.sendToQueue(queue, Buffer.alloc(size));
  await channel.waitForConfirms();
  expect(broker.published).toBe(3);
  const got = await channel.get(queue);
  if (got) channel.ack(got);
  await channel.checkQueue(queue);
  expect(broker.published).toBe(3);
  await client.close();
  await broker.close();
});
