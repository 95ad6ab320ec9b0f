/** The connection breaks at the COMMIT that begins a TCC transaction. The row tells whether it has begun. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

const library = libraryOf();
const contractOf = (name: string) => library.decorators.defineParticipant({ name, version: 1, args: z.object({}) });
/** The first one lives in the app of the initiator, so its Try joins the commit. */
const contracts = { own: contractOf('payment.hold'), remote: contractOf('inventory.hold') };
let sandbox: Sandbox;
let proxy: TcpProxy;
let apps: LittleApp[] = [];
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_lost_registration', { audited: false });
});
afterEach(async () => {
  proxy.heal();
  await Promise.all(apps.map((app) => app.close()));
  apps = [];
  await proxy.close();
});

const rowsOf = (gid: string) =>
  sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_tcc WHERE id = ?', [gid]);

describe.each(['own', 'remote'] as const)('the COMMIT that begins a transaction with an %s participant', (kind) => {
  async function start() {
    proxy = await TcpProxy.start(sandbox.databases.payment);
    const own = participantOf(library, contracts.own, {});
    const remote = participantOf(library, contracts.remote, {});
    apps = [
      await LittleApp.start({ sandbox, library, providers: [own], source: { url: proxy.url } }),
      await LittleApp.start({ sandbox, library, app: 'inventory', providers: [remote] }),
    ];
    const gid = `lost-${++count}`;
    return { gid, run: () => apps[0]!.tcc.run({ gid }, (t) => t.call(contracts[kind], {})) };
  }

  /** Does this at the first COMMIT after the rows of the transaction were sent. */
  function atCommit(gid: string, act: () => void): void {
    let isSent = false;
    const stop = proxy.onBytes('to-server', (chunk) => {
      isSent ||= chunk.includes(gid);
      if (!isSent || !chunk.includes('COMMIT')) return;
      stop();
      act();
    });
  }

  test('whose answer is lost has begun it, and the transaction goes on', async () => {
    const { gid, run } = await start();
    atCommit(gid, () => proxy.blackHole('to-client'));
    const outcome = run();
    outcome.catch(() => {}); // looked at below
    await until('the row is committed', async () => (await rowsOf(gid)).length === 1);
    proxy.cut();
    proxy.heal();
    expect(await outcome).toMatchObject({ gid, status: 'CONFIRMED' });
  });

  test('that does not arrive is an unknown outcome, and nothing has begun', async () => {
    const { gid, run } = await start();
    atCommit(gid, () => proxy.cut());
    await expect(run()).rejects.toMatchObject({
      name: 'OutcomeUnknown',
      message: expect.stringContaining(`no answer to the COMMIT that begins TCC transaction ${gid}`),
    });
    expect(await rowsOf(gid)).toEqual([]);
  });
});
