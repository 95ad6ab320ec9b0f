import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const PRODUCERS = 4;
const EACH = 50;
/** Longer than the test: a message that waited for a scan would never come. */
const NEVER_MS = 600_000;
const ordered = library.defineMessage({
  name: 'test.without-scans',
  version: 1,
  schema: z.object({ n: z.string() }),
  consumers: ['payment.without-scans'],
  gid: ({ n }) => n,
  inOrderOf: { stream: 'without-scans', key: () => 'one' },
});
const handled: string[] = [];
let service: LittleService;

beforeAll(async () => {
  service = await LittleService.start({
    sandbox: await freshSandbox('order_without_scans', { audited: false }),
    library,
    controllers: [controllerOf([[library.OnMessage(ordered), async (_tx, { n }) => void handled.push(n)]])],
    core: { scanIntervalMs: NEVER_MS, leaseMs: NEVER_MS },
  });
});
afterAll(() => service?.close());

test('O9: messages that commit while their predecessors end are sent without a scan', async () => {
  const produce = async (producer: number) => {
    for (let n = 0; n < EACH; n++) {
      await service.source.transaction((tx) =>
        service.get(library.LocalMessages).append(tx, ordered, { n: `${producer}-${n}` }),
      );
      // About the time of a message, so that the commit meets the end of the one before.
      await sleep(Math.random() * 30);
    }
  };
  await Promise.all(Array.from({ length: PRODUCERS }, (_, producer) => produce(producer)));
  await until('all are handled', () => handled.length >= PRODUCERS * EACH);
  expect(new Set(handled).size).toBe(PRODUCERS * EACH);
  for (let producer = 0; producer < PRODUCERS; producer++) {
    const own = handled.filter((one) => one.startsWith(`${producer}-`));
    expect(own).toEqual(Array.from({ length: EACH }, (_, n) => `${producer}-${n}`));
  }
}, 60_000);
