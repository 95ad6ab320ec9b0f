/** Databases of one spec file, the apps that its tests start, and the row of a transaction. */
import { afterEach, beforeAll } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Library, LittleApp, type LittleOptions } from './little-app.js';

interface TransactionRow {
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string;
}

export function useLittleApps(name: string, library: Library) {
  let sandbox: Sandbox;
  const running: LittleApp[] = [];
  beforeAll(async () => {
    sandbox = await freshSandbox(name, { audited: false });
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()));
  });
  const rowOf = async (gid: string): Promise<TransactionRow> => {
    const query = 'SELECT state, attempts, last_error FROM dtx_tcc WHERE id = ?';
    return (await sql<TransactionRow>(sandbox, 'payment', query, [gid]))[0]!;
  };
  return {
    get sandbox() {
      return sandbox;
    },
    rowOf,
    start: async (options: Partial<LittleOptions> = {}): Promise<LittleApp> => {
      const app = await LittleApp.start({ sandbox, library, core: { leaseMs: 300 }, ...options });
      running.push(app);
      return app;
    },
    stop: async (app: LittleApp) => {
      running.splice(running.indexOf(app), 1);
      await app.close();
    },
    untilIs: (gid: string, state: string) =>
      until(`${gid} is ${state}`, async () => (await rowOf(gid)).state === state, { withinMs: 15_000 }),
  };
}
