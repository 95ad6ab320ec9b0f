import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('before_ack_lease', { audited: false });
});

test('a step before the ack that outlasts its lease runs at one instance', async () => {
  const contract = contractOf(library, 'slow-step');
  const LONG_MS = 3_000;
  let calls = 0;
  const step = async () => {
    if (++calls === 1) throw new Error('the first time');
    await new Promise((resolve) => setTimeout(resolve, LONG_MS));
  };
  const start = async () => {
    const controllers = [
      controllerOf([
        [library.OnMessage(contract), async () => {}],
        [library.BeforeAck(contract), step],
      ]),
    ];
    const core = { leaseMs: 500, scanIntervalMs: 50 };
    const service = await LittleService.start({ sandbox, library, controllers, core });
    onTestFinished(() => service.close());
    return service;
  };
  const first = await start();
  await start();
  await first.source.transaction((tx) => first.get(library.LocalMessages).append(tx, contract, { gid: 'slow-step' }));
  // The row is HANDLED between the commit of the business and the first failure, too.
  await until('the step runs again', () => calls > 1);
  await until('it is over', async () => {
    const rows = await sql(sandbox, 'payment', 'SELECT state FROM dtx_inbox');
    return rows.length === 1 && rows[0]!.state === 'HANDLED';
  });
  expect(calls).toBe(2);
});
