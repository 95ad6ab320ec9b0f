import { afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { EFFECTS, effectsOf, write } from './effect-table.js';
import { type LittleApp, libraryOf } from './little-app.js';
import { startTwo, stateOf, untilOver } from './two-instances.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_coordinators', { audited: false });
  await sql(sandbox, 'payment', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('two coordinators that recover one transaction at once have each branch carry it out once', async () => {
  const inConfirm: Array<() => void> = [];
  const { contract, apps } = await startTwo(
    { sandbox, library },
    {
      confirm: async (tx, _, { gid }) => {
        await write(tx, gid, 'confirm');
        await new Promise<void>((resolve) => inConfirm.push(resolve));
      },
    },
    'payment.two',
    // A round gives up long before the participant answers, so that the next claim meets it still at work. The decision has
    // its second, since a busy machine needs it.
    { callTimeoutMs: 100, secondPhaseWaitMs: 1_000, backoff: { firstMs: 20, factor: 1, capMs: 20 } },
  );
  running.push(...apps);
  const { gid, status, waitingFor } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect([status, waitingFor]).toEqual(['CONFIRMED', [contract.name]]);
  const calls = apps.map((app) => countCalls(app, 'confirm'));
  await until('both coordinators have called while the first Confirm is open', () =>
    calls.every(({ count }) => count > 0),
  );
  // The one in the transaction of the decision was rolled back, because it took long. The barrier delays all others.
  await until('a Confirm is open', () => inConfirm.length > 1);
  expect(inConfirm).toHaveLength(2);
  inConfirm[1]!();
  await untilOver(sandbox, gid);
  expect(await effectsOf(sandbox, gid)).toBe('confirm');
  expect(await stateOf(sandbox, gid)).toMatchObject({ state: 'CONFIRMED' });
});

function countCalls({ calls }: LittleApp, phase: string): { count: number } {
  const made = { count: 0 };
  const call = calls.call.bind(calls);
  calls.call = (branch, about, timeoutMs) => {
    if (about.phase === phase) made.count++;
    return call(branch, about, timeoutMs);
  };
  return made;
}
