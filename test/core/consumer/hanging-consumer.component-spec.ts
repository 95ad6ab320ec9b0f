import { afterEach, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { storeDue } from './due-deliveries.js';

const library = libraryOf();
const hanging = contractOf(library, 'hanging');
const fine = contractOf(library, 'fine');
const HANGING = 60;
const FINE = 10;
/** Held rows have a quarter of the places: 8. With all of them at a hanging handler, the others would stand for minutes. */
const CORE = { prefetch: 32, handlerTimeoutMs: 30_000, leaseMs: 60_000 };
let sandbox: Sandbox;
let service: LittleService | undefined;
let letGo: () => void;

beforeAll(async () => {
  sandbox = await freshSandbox('held_keys', { audited: false });
});
afterEach(() => service?.close());

async function start(): Promise<LittleService> {
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  const controllers = [
    controllerOf([
      [library.OnMessage(hanging), () => gate],
      [library.OnMessage(fine), async () => {}],
    ]),
  ];
  return LittleService.start({ sandbox, library, controllers, core: CORE });
}

const states = async ({ name }: { name: string }) =>
  (
    await sql<{ state: string; attempts: number }>(
      sandbox,
      'payment',
      'SELECT state, attempts FROM dtx_inbox WHERE type = ?',
      [`${name}.v1`],
    )
  ).map(({ state, attempts }) => `${state} ${attempts}`);
const all = (count: number, state: string) => Array<string>(count).fill(state);
const gidsOf = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}-${n}`);

test('held deliveries of a hanging consumer do not delay those of another consumer', async () => {
  await (await start()).close(); // migrates
  await storeDue(sandbox, hanging, { count: HANGING, due: '2021-01-01' });
  await storeDue(sandbox, fine, { count: FINE, due: '2021-01-02' });
  service = await start();
  await until('the others are handled', async () => (await states(fine)).every((one) => one === 'HANDLED 0'), {
    withinMs: 20_000,
  });
  expect(await states(hanging)).toEqual(all(HANGING, 'RETRYING 0'));
  letGo();
  await until('the rest is handled', async () => (await states(hanging)).every((one) => one === 'HANDLED 0'), {
    withinMs: 60_000,
  });
});

test('a consumer with hanging handlers leaves connections to the other consumers', async () => {
  const [hangs, goesOn] = [contractOf(library, 'hangs'), contractOf(library, 'goes-on')];
  let begun = 0;
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  const hang = () => {
    begun++;
    return gate;
  };
  const controllers = [
    controllerOf([
      [library.OnMessage(hangs), hang],
      [library.OnMessage(goesOn), async () => {}],
    ]),
  ];
  const core = { workPoolSize: 4, prefetch: 16, handlerTimeoutMs: 60_000 };
  service = await LittleService.start({ sandbox, library, controllers, core });
  const { source, app } = service;
  const append = (contract: typeof hangs, gids: readonly string[]) =>
    source.transaction(async (tx) => {
      for (const gid of gids) await app.get(library.LocalMessages).append(tx, contract, { gid });
    });
  const areHandled = async (contract: typeof hangs, count: number) => {
    const found = await states(contract);
    return found.length === count && found.every((one) => one.startsWith('HANDLED '));
  };
  await append(hangs, gidsOf('hangs', 12));
  await until('it has its share', () => begun === 2);
  await append(goesOn, gidsOf('goes-on', 8));
  await until('the others are handled', () => areHandled(goesOn, 8));
  expect([begun, await states(hangs)]).toEqual([2, []]);
  letGo();
  await until('then all are handled', () => areHandled(hangs, 12));
});
