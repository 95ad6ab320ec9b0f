import { type ChildProcess, execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { newId } from '../../libs/dtx/src/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { emptyQueue } from '../fixtures/broker-queues.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { type Python, pythonWithPika } from '../fixtures/python-with-pika.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { until } from '../fixtures/until.js';

/** The programs of examples/python speak with a service by the wire format alone. */
const PROGRAMS = join(ROOT, 'examples', 'python');
const library = libraryOf();
const schema = z.object({ orderId: z.string(), amount: z.int() });
const gid = ({ orderId }: { orderId: string }) => orderId;
const about = { version: 1, schema, gid };
const orderPlaced = library.defineMessage({ ...about, name: 'order.placed', consumers: ['billing.write-invoice'] });
const invoiceIssued = library.defineMessage({ ...about, name: 'invoice.issued', consumers: ['order.attach-invoice'] });

const queue = 'dtx.billing.write-invoice.v1';
let sandbox: Sandbox;
let python: Python;
let service: LittleService;
let probe: QueueProbe;
let folder: string;
const attached: Array<{ orderId: string; amount: number }> = [];
const running: ChildProcess[] = [];

beforeAll(async () => {
  python = await pythonWithPika();
  folder = mkdtempSync(join(tmpdir(), 'dtx-python-'));
  sandbox = await freshSandbox('python_programs', { audited: false });
  const attach = (_: unknown, message: { orderId: string; amount: number }) => void attached.push(message);
  const controllers = [controllerOf([[library.OnMessage(invoiceIssued), attach]])];
  service = await LittleService.start({
    sandbox,
    library,
    app: 'order',
    controllers,
    localMessage: { resend: { firstMs: 500, factor: 1, capMs: 500 } },
  });
  probe = await QueueProbe.open(sandbox);
}, 300_000);

afterEach(async () => {
  for (const child of running.splice(0)) await ended(child);
  // A program may have ended before an ack, and a slow one has been sent copies.
  await emptyQueue(sandbox, queue);
});

afterAll(async () => {
  await probe?.close();
  await service?.close();
  if (folder) rmSync(folder, { recursive: true });
});

async function ended(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await until('the program ends', () => child.exitCode !== null || child.signalCode !== null);
}

/** Starts receiver.py, or a copy of it that a test has changed, and collects its output. */
function startReceiver(database: string, change: (text: string) => string = (text) => text) {
  const file = join(folder, `receiver-${running.length}.py`);
  writeFileSync(file, change(readFileSync(join(PROGRAMS, 'receiver.py'), 'utf8')));
  const child = spawnForFile(python.program, [file, sandbox.rabbitmq, database], { env: python.env });
  running.push(child);
  // A line may arrive in parts.
  const output = { text: '', errors: '' };
  child.stdout!.on('data', (data) => {
    output.text += data;
  });
  child.stderr!.on('data', (data) => {
    output.errors += data;
  });
  const untilPrinted = (line: string, times = 1) =>
    until(`receiver.py prints ${line} ${times} times`, () => {
      const isPrinted = output.text.split('\n').filter((one) => one === line).length >= times;
      if (!isPrinted && child.exitCode !== null) throw new Error(output.errors);
      return isPrinted;
    });
  return { untilPrinted };
}

async function query(database: string, statement: string): Promise<unknown[][]> {
  const code =
    'import json, sqlite3, sys; print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))';
  const { stdout } = await promisify(execFile)(python.program, ['-c', code, database, statement]);
  return JSON.parse(stdout);
}

const place = (orderId: string, amount: number) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, orderPlaced, { orderId, amount }));

interface Row {
  state: string;
  awaiting: string;
}
const outboxRow = async (id: string) =>
  (await sql<Row>(sandbox, 'order', 'SELECT state, awaiting FROM dtx_outbox WHERE id = ?', [id]))[0]!;
const untilDone = (id: string) => until('the row is DONE', async () => (await outboxRow(id)).state === 'DONE');

test('a local message is DONE by the receipt of receiver.py', async () => {
  const database = join(folder, 'receipt.sqlite');
  startReceiver(database);
  const id = await place('order-1', 1_999);
  await untilDone(id);
  // A program that starts slowly is missed at first, and the row says so.
  expect((await outboxRow(id)).awaiting).toBe(',');
  expect(await query(database, 'SELECT * FROM invoice')).toEqual([['order-1', 1_999]]);
});

test('receiver.py handles a message once that arrives three times, and sends a receipt for each', async () => {
  const database = join(folder, 'duplicates.sqlite');
  const { untilPrinted } = startReceiver(database);
  const id = newId();
  const body = JSON.stringify({ orderId: 'order-2', amount: 5 });
  const properties = { messageId: id, type: 'order.placed.v1' };
  for (let n = 0; n < 3; n++)
    expect(await probe.deliver(queue, body, properties)).toEqual({
      messageId: id,
      consumer: 'billing.write-invoice',
      outcome: 'HANDLED',
    });
  await untilPrinted(`DUPLICATE ${id}`, 2);
  expect(await query(database, 'SELECT * FROM invoice')).toEqual([['order-2', 5]]);
});

test('receiver.py that dies between its commit and its receipt handles the message once', async () => {
  const database = join(folder, 'died.sqlite');
  const dies = startReceiver(database, (text) =>
    text.replace('    if properties.reply_to', '    sys.exit()\n    if properties.reply_to'),
  );
  const id = await place('order-3', 7);
  await dies.untilPrinted(`HANDLED ${id}`);
  await until('the row is there', async () => (await query(database, 'SELECT * FROM invoice')).length === 1);
  expect((await outboxRow(id)).state).not.toBe('DONE');
  const { untilPrinted } = startReceiver(database);
  await untilPrinted(`DUPLICATE ${id}`);
  await untilDone(id);
  expect(await query(database, 'SELECT * FROM invoice')).toEqual([['order-3', 7]]);
});

test('receiver.py keeps a message that it cannot read, and the sender sees it as parked there', async () => {
  const database = join(folder, 'parked.sqlite');
  startReceiver(database);
  const id = newId();
  const receipt = await probe.deliver(queue, '{"orderId":"order-4"}', { messageId: id, type: 'order.placed.v1' });
  expect(receipt.outcome).toBe('PARKED');
  expect(await query(database, 'SELECT id, outcome FROM inbox')).toEqual([[id, 'PARKED']]);
});

test('a message of sender.py is handled by @OnMessage, and its receipt ends sender.py', async () => {
  const database = join(folder, 'sender.sqlite');
  const send = (...invoice: string[]) =>
    promisify(execFile)(python.program, [join(PROGRAMS, 'sender.py'), sandbox.rabbitmq, database, ...invoice], {
      env: python.env,
      timeout: 60_000,
    });
  await send('order-5', '250');
  expect(await query(database, 'SELECT COUNT(*) FROM outbox')).toEqual([[0]]);
  expect(attached).toEqual([{ orderId: 'order-5', amount: 250 }]);
  const inbox = await sql(
    sandbox,
    'order',
    `SELECT state, type, gid FROM dtx_inbox WHERE consumer = 'order.attach-invoice'`,
  );
  expect(inbox).toEqual([{ state: 'HANDLED', type: 'invoice.issued.v1', gid: 'order-5' }]);
});
