import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { type SagaApp, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_rolling');
const input = z.object({});
const step = (name: string) => saga.defineStep({ name, version: 1, args: input });
const [reserve, insure, send, close] = ['order.reserve', 'order.insure', 'inventory.send', 'order.close'].map(step);
const made = () => ({});

/** The new version inserts a step between those of the old one. */
const [before, after] = [1, 2].map((version) =>
  saga.defineSaga({
    name: 'order.delivery',
    version,
    input,
    deadlineMs: 60_000,
    steps: ({ compensable, pivot, retriable }) => [
      compensable(reserve!, made),
      ...(version === 1 ? [] : [compensable(insure!, made)]),
      pivot(send!, made),
      retriable(close!, made),
    ],
  }),
);
const ALL_STEPS = [[reserve!], [insure!], [close!, { undo: null }]] as const;
const OLD_STEPS = [[reserve!], [close!, { undo: null }]] as const;
const EFFECTS = {
  old: ['order.reserve', 'order.close'],
  new: ['order.reserve', 'order.insure', 'order.close'],
};
const EACH = 40;
/** Times between two starts and of the pivot, so that each instance stops with sagas at every place. */
const [EVERY_MS, PIVOT_MS] = [10, 200];

async function begin(app: SagaApp, version: 'old' | 'new', from: number, to: number): Promise<string[]> {
  const gids: string[] = [];
  for (let n = from; n < to; n++) {
    gids.push(await app.begin(version === 'old' ? before! : after!, {}, `${version}-${n}`));
    await sleep(EVERY_MS);
  }
  return gids;
}

it('a new version with an inserted step replaces the old one while both run, and every saga finishes under its own', async () => {
  await apps.start({
    app: 'inventory',
    steps: [[send!, { undo: null, do: () => sleep(PIVOT_MS).then(() => undefined) }]],
  });
  const first = await apps.start({ sagas: [before!], steps: OLD_STEPS });
  const started = await begin(first, 'old', 0, EACH);
  // The new build keeps the old version until its sagas are over.
  const second = await apps.start({ sagas: [before!, after!], steps: ALL_STEPS });
  const [olds, news] = await Promise.all([begin(first, 'old', EACH, 2 * EACH), begin(second, 'new', 0, EACH)]);
  await apps.stop(first);

  for (const gid of [...started, ...olds, ...news]) await apps.untilIs(gid, 'COMPLETED');
  for (const gid of [...started, ...olds, ...news]) {
    const wanted = gid.startsWith('old') ? EFFECTS.old : EFFECTS.new;
    expect(await apps.effects('order', gid), gid).toEqual(wanted);
  }
  expect(await sql(apps.sandbox, 'order', 'SELECT subject_id, alert_error FROM dtx_alert')).toEqual([]);
});

it('without a version of its own the inserted step would be missed, so such a build does not start', async () => {
  const inserted = { ...after!, version: 1 };
  const app = await apps.start({ app: 'inventory', steps: [[send!, { undo: null }]] });
  const old = await apps.start({ sagas: [before!], steps: OLD_STEPS });
  await apps.stop(app);
  await old.begin(before!, {}, 'stranded');
  await apps.stop(old);
  await expect(apps.start({ sagas: [inserted], steps: ALL_STEPS })).rejects.toThrow(
    /has other steps than its 1 open sagas began with/,
  );

  await apps.start({ app: 'inventory', steps: [[send!, { undo: null }]] });
  await apps.start({ sagas: [before!], steps: OLD_STEPS });
  await apps.untilIs('stranded', 'COMPLETED');
  expect(await apps.effects('order', 'stranded')).toEqual(EFFECTS.old);
});
