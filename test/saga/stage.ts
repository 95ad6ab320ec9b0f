/** The three apps of the purchase. Each test gives the steps of its saga their behaviour. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll } from 'vitest';
import type * as SagaLibrary from '../../libs/dtx/src/saga/index.js';
import type { StepCalls } from '../../libs/dtx/src/saga/step-calls.js';
import { built } from '../fixtures/built-library.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { purchaseOf } from './purchase-saga.js';
import { AS_BUILT, effect, type Methods, SagaApp } from './saga-apps.js';
import { readsOf, useSagaDatabases } from './saga-databases.js';

const CALL_MS = 20_000;

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

/** The calls of an app, past its sagas. */
export const callsOf = ({ context, libraries: { root } }: SagaApp): StepCalls =>
  context.get(built('saga/step-calls.js', root).StepCalls);

/** The apps are started once for a file. */
export function useStage(name: string) {
  const databases = useSagaDatabases(name);
  const stage = stageOn(() => databases.sandbox);
  beforeAll(() => stage.start());
  afterAll(() => stage.close());
  return stage;
}

export function stageOn(sandboxOf: () => Sandbox, libraries = AS_BUILT) {
  const contracts = purchaseOf(libraries);
  const { place, hold, pay, confirm, purchase, booking, stay } = contracts;
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
    SagaApp.start(sandboxOf(), {
      libraries,
      sagas: [purchase, booking, stay],
      steps: [
        [place, methodsOf('place', place as never)],
        [confirm, methodsOf('confirm', confirm as never)],
      ],
      options: OPTIONS,
    });

  const begin = async (definition: typeof purchase, script: Script, also: Also = async () => {}): Promise<string> => {
    const gid = randomUUID();
    scripts.set(gid, script);
    const { sagas, source } = apps[2]!;
    await libraries.library.inTransaction(source, async (tx) => {
      await sagas.start(tx, definition, { sku: 'book' }, { gid });
      await also(tx, gid);
    });
    return gid;
  };

  const start = async () => {
    apps.push(
      await SagaApp.start(sandboxOf(), {
        libraries,
        app: 'inventory',
        steps: [[hold, methodsOf('hold', hold as never)]],
        options: OPTIONS,
      }),
      await SagaApp.start(sandboxOf(), {
        libraries,
        app: 'payment',
        steps: [[pay, methodsOf('pay', pay as never)]],
        options: OPTIONS,
      }),
      await startOrder(),
    );
  };

  return {
    ...readsOf(sandboxOf),
    contracts,
    start,
    close: () => Promise.all(apps.map((app) => app.close())),
    get sandbox(): Sandbox {
      return sandboxOf();
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
    begin: (script: Script = {}, also?: Also): Promise<string> => begin(purchase, script, also),
    /** Begins a booking, which has no pivot. */
    book: (script: Script): Promise<string> => begin(booking, script),
    /** Begins a stay, whose last step joins the commit of the final mark. */
    stay: (script: Script): Promise<string> => begin(stay, script),
    /** Calls a step as a process of the order app that was suspended since then. */
    callLate: async (gid: string, part: 'hold' | 'pay', phase: 'do' | 'undo' = 'do') => {
      const query = 'SELECT incarnation, created_at FROM dtx_saga WHERE id = ?';
      const [row] = await sql<{ incarnation: string; created_at: Date }>(sandboxOf(), 'order', query, [gid]);
      const { incarnation, created_at } = row!;
      const about = { gid, incarnation, saga: purchase.name, since: created_at.toISOString(), phase } as const;
      const kind = part === 'hold' ? 'compensable' : 'pivot';
      const args = part === 'hold' ? { sku: 'book' } : { sku: 'book', lot: `lot of ${gid}` };
      return callsOf(apps[2]!).call(
        contracts[part] as never,
        { ...about, kind, args: phase === 'do' ? args : undefined },
        CALL_MS,
      );
    },
    /** The deadline has passed, by the clock of the database. */
    passDeadline: (gid: string) =>
      sql(sandboxOf(), 'order', 'UPDATE dtx_saga SET deadline = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE id = ?', [
        gid,
      ]),
  };
}
