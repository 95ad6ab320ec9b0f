import type { ChildProcess } from 'node:child_process';
import { beforeAll, expect, test } from 'vitest';
import { endOf, orderedApp, orderedTables } from '../fixtures/ordered-app.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

/** Each key is appended to by all producers of both instances. */
const KEYS = Array.from({ length: 5 }, (_, n) => `key-${n}`);
const TOTAL = process.env.DTX_TEST_ALL ? 4_000 : 500;
const KILLS = process.env.DTX_TEST_ALL ? 8 : 3;
const LIMIT_MS = process.env.DTX_TEST_ALL ? 540_000 : 240_000;
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('order_under_kills', { audited: false });
  await orderedTables(sandbox, KEYS);
});

const numberOf = async (what: string) =>
  Number((await sql<{ n: number | null }>(sandbox, 'order', `SELECT ${what}`))[0]!.n ?? 0);
const committed = () => numberOf('SUM(n) AS n FROM counter');

/** The ids of each key, joined in the order of the second column. */
async function idsOf(table: string, place: string): Promise<Record<string, string[]>> {
  const rows = await sql<{ k: string; id: string }>(
    sandbox,
    'order',
    `SELECT k, id FROM ${table} ORDER BY k, ${place}`,
  );
  return Object.fromEntries(KEYS.map((key) => [key, rows.filter(({ k }) => k === key).map(({ id }) => id)]));
}

test(
  `O4, O5: ${TOTAL} messages of 16 producers over 5 keys in two instances are each handled once and in the order of the commits, with kills in between`,
  async () => {
    const start = () => orderedApp(sandbox, { task: 'produce', keys: KEYS, total: TOTAL, producers: 8 });
    const instances: ChildProcess[] = [start(), start()];
    try {
      for (let kill = 1; kill <= KILLS; kill++) {
        const share = (TOTAL * kill) / (KILLS + 1);
        await until(`${share} messages are committed`, async () => (await committed()) >= share, {
          withinMs: LIMIT_MS,
        });
        const victim = kill % 2;
        instances[victim]!.kill('SIGKILL');
        expect(await endOf(instances[victim]!)).toBe('SIGKILL');
        instances[victim] = start();
      }
      expect(await Promise.all(instances.map(endOf))).toEqual([0, 0]);
    } finally {
      for (const instance of instances) instance.kill('SIGKILL');
    }
    const commits = await idsOf('commit_log', 'n');
    expect(Object.values(commits).flat().length).toBeGreaterThanOrEqual(TOTAL);
    expect(await idsOf('effect', 'at')).toEqual(commits);
    expect(await numberOf(`COUNT(*) AS n FROM dtx_keyed WHERE state <> 'DONE' OR open_key IS NOT NULL`)).toBe(0);
  },
  LIMIT_MS,
);
