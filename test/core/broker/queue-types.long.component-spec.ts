import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { management } from '../../../tools/src/servers/broker-api.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { dtx } from '../../schema/dtx-command.js';
import { participantOf, libraryOf as tccLibraryOf } from '../../tcc/little-app.js';

const library = libraryOf();
/** As in `test/schema/ledger-contracts.mjs`, from which the commands read it. */
const booked = contractOf(library, 'book');
const funds = library.defineParticipant({ name: 'inventory.funds', version: 1, args: z.object({ gid: z.string() }) });
type Queues = 'quorum' | 'classic' | 'classic-to-quorum';

const CLASSIC = 'dtx.payment.book.v1';
const QUORUM = 'dtx.payment.book.v1.quorum';
let sandbox: Sandbox;
let handled: string[];
let services: LittleService[];

beforeEach(async () => {
  sandbox = await freshSandbox('queue_types', { audited: false });
  [handled, services] = [[], []];
});

afterEach(() => Promise.all(services.map((service) => service.close())));

/** @param name tells which of several instances has handled a message */
async function start(queues: Queues | undefined, { name = 'one', consumers = true } = {}): Promise<LittleService> {
  const note = ((_tx: unknown, { gid }: { gid: string }) => handled.push(`${name} ${gid}`)) as never;
  const service = await LittleService.start({
    sandbox,
    library,
    core: { queues, consumers },
    controllers: [controllerOf([[library.OnMessage(booked), note]])],
    localMessage: { resend: { firstMs: 60_000, factor: 1, capMs: 60_000 } },
  });
  services.push(service);
  return service;
}

async function stop(service: LittleService): Promise<void> {
  services = services.filter((one) => one !== service);
  await service.close();
}

const append = (service: LittleService, gid: string) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, booked, { gid }));
const untilHandled = (what: RegExp) => until(`${what} is handled`, () => handled.some((one) => what.test(one)));
const untilDone = () =>
  until('every message has its receipt', async () => {
    const open = `SELECT id FROM dtx_outbox WHERE state <> 'DONE'`;
    return (await sql(sandbox, 'payment', open)).length === 0;
  });

interface Listed {
  name: string;
  type: string;
}
async function typesOfQueues(): Promise<Record<string, string>> {
  const listed = await management<Listed[]>(sandbox.management, 'GET', `/queues/${encodeURIComponent(sandbox.vhost)}`);
  return Object.fromEntries((listed ?? []).map(({ name, type }) => [name, type]));
}

test('by default, every queue that several processes share is a quorum queue', async () => {
  const service = await start(undefined);
  await append(service, 'first');
  await untilHandled(/first/);
  await untilDone();
  const types = await until('the queues are listed', async () => {
    const listed = await typesOfQueues();
    return listed[QUORUM] && listed['dtx.payment.receipts.v1.quorum'] ? listed : null;
  });
  const shared = Object.entries(types).filter(([name]) => !name.includes('tcc-answers'));
  expect(shared.length).toBeGreaterThan(2);
  expect(new Set(shared.map(([, type]) => type))).toEqual(new Set(['quorum']));
});

test('with the option classic, an app for one node declares classic queues', async () => {
  const service = await start('classic');
  await append(service, 'first');
  await untilHandled(/first/);
  const types = await until('the queue is listed', async () => {
    const listed = await typesOfQueues();
    return listed[CLASSIC] ? listed : null;
  });
  expect(types[CLASSIC]).toBe('classic');
  expect(types[QUORUM]).toBeUndefined();
});

test.each([
  { from: 'classic', to: 'quorum', left: CLASSIC },
  { from: 'quorum', to: 'classic', left: QUORUM },
] as const)('messages that an app with $from queues has left are handled after a change to $to', async (change) => {
  const before = await start(change.from, { consumers: false });
  await append(before, 'left');
  await until('the message is in its queue', async () => {
    const [row] = await sql<{ sent_at: Date | null }>(sandbox, 'payment', 'SELECT sent_at FROM dtx_outbox');
    return row?.sent_at;
  });
  await stop(before);
  expect(handled).toEqual([]);
  const after = await start(change.to);
  await untilHandled(/left/);
  await untilDone();
  await append(after, 'new');
  await untilHandled(/new/);
  await untilDone();
  expect(handled).toEqual(['one left', 'one new']);
});

test('in the two steps of a rolling upgrade, instances of both steps handle what the other one sends', async () => {
  const first = await start('classic-to-quorum', { name: 'first-step' });
  const second = await start('quorum', { name: 'second-step', consumers: false });
  await append(second, 'of-second');
  await untilHandled(/^first-step of-second/);
  await untilDone();
  await stop(second);
  const consuming = await start('quorum', { name: 'second-step' });
  await stop(first);
  const sender = await start('classic-to-quorum', { name: 'first-step', consumers: false });
  await append(sender, 'of-first');
  await untilHandled(/^second-step of-first/);
  await untilDone();
  await stop(consuming);
});

test('a TCC transaction goes through while initiator and participant are at different steps', async () => {
  const confirmed: string[] = [];
  const participants = (queues: Queues) =>
    LittleService.start({
      sandbox,
      library,
      app: 'inventory',
      core: { queues },
      providers: [participantOf(tccLibraryOf(), funds, { confirm: (_tx, { gid }) => confirmed.push(gid) })],
    });
  const before = await participants('classic-to-quorum');
  // The classic queues exist from then on.
  const CALLS = ['dtx.inventory.tcc-funds.v1', 'dtx.inventory.tcc-funds.second.v1'];
  await until('the classic queues are declared', async () => {
    const listed = await typesOfQueues();
    return CALLS.every((name) => listed[name]);
  });
  await before.close();
  for (const [initiator, participant] of [
    ['classic-to-quorum', 'quorum'],
    ['quorum', 'classic-to-quorum'],
  ] as const) {
    const [one, other] = [await start(initiator), await participants(participant)];
    services.push(other);
    const outcome = await one
      .get(library.Tcc)
      .run({ gid: initiator }, (calls) => calls.call(funds, { gid: initiator }));
    expect(outcome).toMatchObject({ status: 'CONFIRMED' });
    await stop(one);
    await stop(other);
  }
  expect(confirmed).toEqual(['classic-to-quorum', 'quorum']);
});

test('the command deletes old queues only when they are empty, and the app goes on', async () => {
  const old = await start('classic', { consumers: false });
  await append(old, 'left');
  await until('the message is in its queue', async () => {
    const [row] = await sql<{ sent_at: Date | null }>(sandbox, 'payment', 'SELECT sent_at FROM dtx_outbox');
    return row?.sent_at;
  });
  await stop(old);
  const deleteOld = () =>
    dtx([
      ...['queues', '--app', 'payment', '--contracts', 'test/schema/ledger-contracts.mjs'],
      ...['--delete-old', '--rabbitmq', sandbox.rabbitmq],
    ]);
  const refused = await deleteOld();
  expect(refused).toMatchObject({ code: 1, output: expect.stringContaining(`${CLASSIC}: has messages`) });
  const service = await start('quorum');
  await untilHandled(/left/);
  await untilDone();
  const deleted = await until('the old queue is deleted', async () => {
    const { code, output } = await deleteOld();
    return code === 0 && output;
  });
  expect(deleted).toMatch(/no old queue is left/);
  await append(service, 'new');
  await untilHandled(/new/);
  await untilDone();
  expect(service.get(library.Broker).consumerProblems()).toEqual([]);
});

test('an unknown value is refused with those that exist', async () => {
  await expect(start('mirrored' as never)).rejects.toThrow(/queues.*quorum.*classic/s);
  const { code, output } = await dtx([
    ...['queues', '--app', 'payment', '--contracts', 'test/schema/ledger-contracts.mjs', '--queues', 'mirrored'],
  ]);
  expect(code).toBe(2);
  expect(output).toContain('--queues: expected quorum, classic-to-quorum, classic');
});
