/** The three apps of the purchase, started once for a file. Each test gives the steps of its saga their behaviour. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll } from 'vitest';
import type * as SagaLibrary from '../../libs/dtx/src/saga/index.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { confirm, hold, pay, place, purchase } from './purchase-saga.js';
import { effect, library, type Methods, SagaApp, useSagaDatabases } from './saga-apps.js';

type Part = 'place' | 'hold' | 'pay' | 'confirm';
type Also = (tx: EntityManager, gid: string) => Promise<unknown>;
export type Script = Partial<Record<Part, Methods>>;

const defaults: Record<Part, Methods> = {
  place: {},
  hold: {
    do: async (tx, _, { gid }) => {
      await effect(tx, gid, 'hold');
      return { lot: `lot of ${gid}` };
    },
    undo: (tx, _, { gid, result }) => effect(tx, gid, `put back ${result.lot}`),
  },
  pay: { undo: null },
  confirm: { undo: null },
};

/** The options of every app: few attempts, so that a failing step ends soon. */
export const OPTIONS = { attemptsMax: 3, callTimeoutMs: 2_000, backoff: { firstMs: 50, factor: 1, capMs: 50 } };

export function useStage(name: string) {
  const databases = useSagaDatabases(name);
  const scripts = new Map<string, Script>();
  const apps: SagaApp[] = [];

  /** Looks up the behaviour of the saga at each call. */
  const methodsOf = (part: Part, contract: SagaLibrary.StepContract<never, never>): Methods => {
    const { undo } = defaults[part];
    const own = (gid: string) => ({ ...defaults[part], ...scripts.get(gid)?.[part] });
    return {
      do: (tx, args, step) => (own(step.gid).do ?? ((t, _, { gid }) => effect(t, gid, contract.name)))(tx, args, step),
      undo:
        undo === null
          ? null
          : (tx, args, step) =>
              (own(step.gid).undo ?? ((t, _, { gid }) => effect(t, gid, `undo ${contract.name}`)))(tx, args, step),
      // The order app's own steps have none, so that their commits can be joined.
      ...((part === 'hold' || part === 'pay') && { done: (args, step) => own(step.gid).done?.(args, step) }),
    };
  };
  const startOrder = () =>
    SagaApp.start(databases.sandbox, {
      sagas: [purchase],
      steps: [
        [place, methodsOf('place', place as never)],
        [confirm, methodsOf('confirm', confirm as never)],
      ],
      options: OPTIONS,
    });

  beforeAll(async () => {
    apps.push(
      await SagaApp.start(databases.sandbox, {
        app: 'inventory',
        steps: [[hold, methodsOf('hold', hold as never)]],
        options: OPTIONS,
      }),
      await SagaApp.start(databases.sandbox, {
        app: 'payment',
        steps: [[pay, methodsOf('pay', pay as never)]],
        options: OPTIONS,
      }),
      await startOrder(),
    );
  });
  afterAll(() => Promise.all(apps.map((app) => app.close())));

  return {
    ...databases.reads,
    get sandbox(): Sandbox {
      return databases.sandbox;
    },
    get order(): SagaApp {
      return apps[2]!;
    },
    /** A second instance of the order app. */
    startSecond: async (): Promise<SagaApp> => {
      const second = await startOrder();
      apps.push(second);
      return second;
    },
    /** Begins a purchase whose steps behave so. `also` joins its transaction. Resolves to its gid. */
    begin: async (script: Script = {}, also: Also = async () => {}): Promise<string> => {
      const gid = randomUUID();
      scripts.set(gid, script);
      const { sagas, source } = apps[2]!;
      await library.inTransaction(source, async (tx) => {
        await sagas.start(tx, purchase, { sku: 'book' }, { gid });
        await also(tx, gid);
      });
      return gid;
    },
    /** The deadline has passed, by the clock of the database. */
    passDeadline: (gid: string) =>
      sql(
        databases.sandbox,
        'order',
        'UPDATE dtx_saga SET deadline = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE id = ?',
        [gid],
      ),
  };
}
