import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { management } from '../../../tools/src/servers/broker-api.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';
import { Wire } from './broker-clients.js';

/** Method frames of AMQP 0-9-1: class 10 (connection), method 41 (open-ok) and 50 (close). */
const OPEN_OK = Buffer.from([0, 10, 0, 41]);
const CLOSE = Buffer.from([0, 10, 0, 50]);
let sandbox: Sandbox;
let admin: Administrator;
let proxy: Server;
let held = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('closed_at_open', { audited: false });
  admin = await Administrator.of(sandbox);
});

afterAll(async () => {
  proxy?.close();
  await admin?.close();
});

/** Holds the answer that opens the first connection until the broker closes it, and passes on both in one packet. */
function pass(client: Socket, isFirst: boolean): void {
  const { hostname, port } = new URL(sandbox.rabbitmq);
  const broker = connect(Number(port), hostname);
  let opening = Buffer.alloc(0);
  client.pipe(broker);
  for (const socket of [client, broker]) socket.on('error', () => {});
  broker.on('end', () => client.end());
  broker.on('data', (bytes: Buffer) => {
    if (isFirst && (opening.length > 0 || bytes.includes(OPEN_OK))) {
      opening = Buffer.concat([opening, bytes]);
      held = opening.length;
      if (!opening.includes(CLOSE)) return;
      client.write(opening);
      opening = Buffer.alloc(0);
    } else client.write(bytes);
  });
}

/** Closes the connections of the wire, as an administrator does. */
async function closeConnections(): Promise<void> {
  const path = `/vhosts/${encodeURIComponent(sandbox.vhost)}/connections`;
  const all = (await management(sandbox.management, 'GET', path)) as Array<{
    name: string;
    client_properties?: { connection_name?: string };
  }>;
  for (const { name, client_properties: about } of all)
    if (about?.connection_name === 'wire')
      await management(sandbox.management, 'DELETE', `/connections/${encodeURIComponent(name)}`);
}

test('a connection that the broker closes in the packet that opens it is replaced by a new one', async () => {
  let clients = 0;
  proxy = createServer((client) => pass(client, ++clients === 1));
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const url = new URL(sandbox.rabbitmq);
  url.port = String((proxy.address() as { port: number }).port);
  const wire = new Wire(url.href);
  try {
    await until('the broker has opened the connection', () => held > 0);
    await until('the connection is closed by the broker', async () => {
      await closeConnections();
      return clients > 1;
    });
    await until('the publisher is up', () => wire.publisher.isUp);
    await wire.publish('dtx.test.after.v1', 'after');
    expect(await admin.waiting('dtx.test.after.v1')).toBe(1);
  } finally {
    await wire.close();
  }
});
