// Copies of a message that this process has handled. A sender repeats a message while its consumer is behind.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf, controllerOf, type Library, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import type { Mutant } from '../../mutants/mutant.js';
import { forgetfulConsumer, trustedMemory } from './recent-copies.mutants.js';

const intact = libraryOf();
const QUEUE = 'dtx.payment.copied.v1';
let sandbox: Sandbox;
let probe: QueueProbe;
let proxy: TcpProxy;
let service: LittleService | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('recent_copies', { audited: false });
  probe = await QueueProbe.open(sandbox);
  proxy = await TcpProxy.start(sandbox.databases.payment);
  return async () => {
    await probe.close();
    await proxy.close();
  };
});
afterEach(() => service?.close());

const without = (mutant: Mutant): Library => libraryOf(buildMutant(copyBuild(mutant.name), mutant));

/** A service that has handled a message. `copy` delivers it once more, and resolves to the outcome in its receipt. */
async function handledOnce(library: Library = intact) {
  const contract = contractOf(library, 'copied');
  const handled: string[] = [];
  const handle = async (_tx: unknown, message: { gid: string }) => void handled.push(message.gid);
  const controllers = [controllerOf([[library.OnMessage(contract), handle]] as never)];
  service = await LittleService.start({ sandbox, library, url: proxy.url, controllers });
  const [gid, messageId] = [randomUUID(), randomUUID()];
  const headers = { 'dtx-scheme': 'local-message', 'dtx-made-at': String(Date.now()) };
  const properties = { type: 'test.copied.v1', correlationId: gid, messageId, headers };
  const copy = async () => (await probe.deliver(QUEUE, JSON.stringify({ gid }), properties)).outcome;
  expect(await copy()).toBe('HANDLED');
  return { copy, gid, runs: () => handled.length };
}

/** The packets with a statement of the inbox, and those with a rollback, while three copies arrive. */
async function packetsOfCopies(library?: Library) {
  const { copy, runs } = await handledOnce(library);
  const packets = { inbox: 0, rollback: 0 };
  const stop = proxy.onBytes('to-server', (chunk) => {
    if (chunk.includes('dtx_inbox') && chunk.includes('.payment.copied')) packets.inbox++;
    if (chunk.includes('ROLLBACK')) packets.rollback++;
  });
  for (let copies = 1; copies <= 3; copies++) expect(await copy()).toBe('HANDLED');
  stop();
  expect(runs()).toBe(1);
  return packets;
}

describe('a copy of a message that this process has handled', () => {
  test('costs one read of its row, and gets the receipt', async () => {
    expect(await packetsOfCopies()).toEqual({ inbox: 3, rollback: 0 });
  });

  test('control: without the look, it costs a transaction that finds the row, and the read', async () => {
    expect(await packetsOfCopies(without(forgetfulConsumer))).toEqual({ inbox: 6, rollback: 3 });
  });
});

describe('a copy of a message whose row a failover has lost', () => {
  async function runsAfterLoss(library?: Library) {
    const { copy, gid, runs } = await handledOnce(library);
    await sql(sandbox, 'payment', 'DELETE FROM dtx_inbox WHERE gid = ?', [gid]);
    expect(await copy()).toBe('HANDLED');
    return runs();
  }

  test('is handled again', async () => {
    expect(await runsAfterLoss()).toBe(2);
  });

  test('control: if the memory of the process counts, it is lost', async () => {
    expect(await runsAfterLoss(without(trustedMemory))).toBe(1);
  });
});
