import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import type { SharedQueues } from '../../../libs/dtx/src/core/broker/queue-prefix.js';
import { deleteQueue, messagesIn, queueState } from '../../fixtures/broker-queues.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { participantOf, libraryOf as tccLibraryOf } from '../../tcc/little-app.js';

const library = libraryOf();
const sold = contractOf(library, 'sold');
const funds = library.defineParticipant({ name: 'payment.funds', version: 1, args: z.object({ gid: z.string() }) });
const QUEUE = 'dtx.payment.sold.v1';
const handled: string[] = [];
let sandbox: Sandbox;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('queue_types', { audited: false });
});

async function sender(queues: SharedQueues): Promise<LittleService> {
  return closedAtEnd(await LittleService.start({ sandbox, library, app: 'order', core: { queues } }));
}

async function receiver(queues: SharedQueues): Promise<LittleService> {
  const handle = (_tx: unknown, { gid }: { gid: string }) => void handled.push(gid);
  const controllers = [controllerOf([[library.OnMessage(sold), handle as never]])];
  const providers = [participantOf(tccLibraryOf(), funds, {})];
  return closedAtEnd(await LittleService.start({ sandbox, library, core: { queues }, controllers, providers }));
}

function closedAtEnd(service: LittleService): LittleService {
  let closing: Promise<void> | undefined;
  const close = service.close.bind(service);
  service.close = () => (closing ??= close());
  onTestFinished(() => service.close());
  return service;
}

/** One message until its receipt, and one TCC transaction. No attempt may fail, and no call be refused. */
async function exchange(from: LittleService): Promise<void> {
  const gid = `g${++count}`;
  await from.source.transaction((tx) => from.get(library.LocalMessages).append(tx, sold, { gid }));
  const outcome = await from.get(library.Tcc).run({ gid }, (calls) => calls.call(funds, { gid }));
  expect(outcome).toMatchObject({ status: 'CONFIRMED' });
  const row = () =>
    sql<{ state: string; attempts: number }>(sandbox, 'order', 'SELECT state, attempts FROM dtx_outbox WHERE gid = ?', [
      gid,
    ]);
  await until('the receipt has arrived', async () => (await row())[0]?.state === 'DONE');
  expect((await row())[0]!.attempts).toBe(0);
  expect(handled.filter((one) => one === gid)).toHaveLength(1);
}

async function isAttached(service: LittleService): Promise<void> {
  await until('all is consumed', () => service.get(library.Broker).consumerProblems().length === 0);
}

test.each<[SharedQueues, SharedQueues]>([
  ['classic', 'classic'],
  ['classic', 'classic-to-quorum'],
  ['classic-to-quorum', 'classic'],
  ['classic-to-quorum', 'classic-to-quorum'],
  ['classic-to-quorum', 'quorum'],
  ['quorum', 'classic-to-quorum'],
  ['quorum', 'quorum'],
  ['quorum', 'classic'],
  ['classic', 'quorum'],
])('a sender with %s and a receiver with %s refuse and resend nothing', async (sends, receives) => {
  const to = await receiver(receives);
  const from = await sender(sends);
  await Promise.all([to, from].map(isAttached));
  await exchange(from);
  const left = await Promise.all([QUEUE, `${QUEUE}.quorum`].map((queue) => messagesIn(sandbox, queue)));
  expect(left.filter((messages) => messages)).toEqual([]);
});

test('messages of the version before in its classic queue are handled', async () => {
  const probe = await QueueProbe.open(sandbox);
  onTestFinished(() => probe.close());
  await probe.declare(QUEUE);
  const sent = [1, 2, 3].map((n) => `left-${n}`);
  for (const messageId of sent)
    await probe.send(QUEUE, Buffer.from(JSON.stringify({ gid: messageId })), {
      messageId,
      type: 'test.sold.v1',
      correlationId: messageId,
    });
  await receiver('quorum');
  await until('all are handled', () => sent.every((one) => handled.includes(one)));
  expect(await queueState(sandbox, QUEUE)).toEqual({ messages: 0, consumers: 1 });
});

test('a consumer whose classic queue was deleted is healthy, and finds it when it is there again', async () => {
  const to = await receiver('quorum');
  const broker = to.get(library.Broker);
  const isConsumed = async () => (await queueState(sandbox, QUEUE))?.consumers === 1;
  await until('the classic queue is consumed', isConsumed);
  await deleteQueue(sandbox, QUEUE);
  await until('all else is consumed', () => broker.consumerProblems().length === 0);
  const probe = await QueueProbe.open(sandbox);
  onTestFinished(() => probe.close());
  await probe.declare(QUEUE);
  await until('the new classic queue is consumed', isConsumed);
});
