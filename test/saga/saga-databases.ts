/** The databases of a saga's apps: a table of effects in each, and what tests read there. */
import { afterEach, beforeAll } from 'vitest';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type AppOptions, SagaApp } from './saga-apps.js';

const APPS: readonly AppName[] = ['order', 'payment', 'inventory'];

interface SagaRow {
  readonly state: string;
  readonly direction: string | null;
  readonly reason: string | null;
  readonly attempts: number;
  readonly last_error: string | null;
}

export async function createEffects(sandbox: Sandbox): Promise<void> {
  const create = 'CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(100))';
  for (const app of APPS) await sql(sandbox, app, create);
}

export function readsOf(sandboxOf: () => Sandbox) {
  const rowOf = async (gid: string): Promise<SagaRow | undefined> => {
    const query = 'SELECT state, direction, reason, attempts, last_error FROM dtx_saga WHERE id = ?';
    return (await sql<SagaRow>(sandboxOf(), 'order', query, [gid]))[0];
  };
  const isIn = async (gid: string, ...states: string[]) => {
    const row = await rowOf(gid);
    return states.includes(row?.state ?? '') || new Error(JSON.stringify(row));
  };
  return {
    rowOf,
    /** The effects of a saga at one app, in their order. */
    effects: async (app: AppName, gid: string): Promise<string[]> => {
      const rows = await sql<{ what: string }>(sandboxOf(), app, 'SELECT what FROM effect WHERE gid = ? ORDER BY id', [
        gid,
      ]);
      return rows.map(({ what }) => what);
    },
    untilIs: (gid: string, state: string) => until(`${gid} is ${state}`, () => isIn(gid, state), { withinMs: 60_000 }),
    untilOver: (gid: string) =>
      until(`${gid} is over`, () => isIn(gid, 'COMPLETED', 'COMPENSATED'), { withinMs: 60_000, everyMs: 50 }),
    alertsOf: (gid: string) =>
      sql<{ step: string; alert_error: string; closed_at: Date | null }>(
        sandboxOf(),
        'order',
        'SELECT step, alert_error, closed_at FROM dtx_alert WHERE subject_id = ? ORDER BY id',
        [gid],
      ),
  };
}

/** The databases of one spec file. */
export function useSagaDatabases(name: string) {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await freshSandbox(name, { audited: false });
    await createEffects(sandbox);
  });
  return {
    get sandbox() {
      return sandbox;
    },
    reads: readsOf(() => sandbox),
  };
}

/** Apps that each test starts for itself. They end with the test. */
export function useSagaApps(name: string) {
  const databases = useSagaDatabases(name);
  const running: SagaApp[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()));
  });
  return {
    ...databases.reads,
    get sandbox() {
      return databases.sandbox;
    },
    start: async (options: AppOptions): Promise<SagaApp> => {
      const app = await SagaApp.start(databases.sandbox, options);
      running.push(app);
      return app;
    },
    stop: async (app: SagaApp): Promise<void> => {
      running.splice(running.indexOf(app), 1);
      await app.close();
    },
  };
}
