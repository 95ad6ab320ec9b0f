// Saga: one compensable step, then a pivot. Two instances of the initiator may run it at once, as after a pause beyond the
// lease. The engine's way forward and back, its writes and both barriers are the library's own code.

import type { StepKey } from '../../libs/dtx/src/saga/barrier.js';
import type { Verdict } from '../../libs/dtx/src/saga/call-messages.js';
import type { CallEntry } from '../../libs/dtx/src/saga/saga-entries.js';
import { sagaMigrations } from '../../libs/dtx/src/saga/saga-tables.js';
import type { Edit } from '../mutants/guard-edit.js';
import type { Model } from './explorer.js';
import { libraryCode } from './library-code.js';
import { ModelDatabase } from './model-database.js';
import type { Process } from './process.js';
import { isOfServer } from './server-errors.js';
import type { Row } from './statements.js';
import { type Budget, World } from './world.js';

type Code = Pick<typeof import('../../libs/dtx/src/saga/forward.js'), 'Forward'> &
  Pick<typeof import('../../libs/dtx/src/saga/compensation.js'), 'Compensation'> &
  Pick<typeof import('../../libs/dtx/src/saga/engine.js'), 'SagaEngine'> &
  Pick<typeof import('../../libs/dtx/src/saga/saga-rows.js'), 'SagaRows'> &
  typeof import('../../libs/dtx/src/saga/barrier.js');
type Engine = { go(row: unknown, saga: unknown): Promise<{ row: Row; end: { kind: string; row?: Row } }> };

const ID = 'g';
const DEADLINE_MS = 1_000;
/** Turns of one instance. A fault needs a second one, and the deadline a third. */
const TURNS = 4;
const entry = (kind: string, name: string) => ({ kind, step: { name }, args: () => ({}) });
const SAGA = { name: 'booking', groups: [[entry('compensable', 'stock')], [entry('pivot', 'pay')]] };
const FILES = ['forward', 'compensation', 'engine', 'saga-rows', 'barrier'];

export async function sagaModel(budget: Budget, edits: readonly Edit[] = []): Promise<Model> {
  const parts = await Promise.all(FILES.map((file) => libraryCode<Partial<Code>>(`saga/${file}.ts`, edits)));
  const code = Object.assign({}, ...parts) as Code;
  const sagas = new WeakMap<World, Booking>();
  return {
    name: 'saga',
    begin: () => {
      const world = new World(budget);
      sagas.set(world, new Booking(world, code));
      return world;
    },
    wrong: (world) => sagas.get(world)!.wrong(),
    wrongAtEnd: (world) => sagas.get(world)!.wrongAtEnd(),
  };
}

class Booking {
  private readonly initiator: ModelDatabase;
  private readonly participant: ModelDatabase;
  private readonly answers = new Map<string, Verdict>();

  constructor(
    private readonly world: World,
    private readonly code: Code,
  ) {
    this.initiator = new ModelDatabase(world, 'initiator', sagaMigrations);
    this.participant = new ModelDatabase(world, 'participant', sagaMigrations);
    world.hold(() => [...this.answers]);
    world.spawn('first', (self) => this.first(self));
    world.spawn('scan', (self) => this.scan(self), { again: true });
    const happen = () => {
      this.initiator.isOverdue = true;
    };
    world.once({ label: 'the deadline passes', isOpen: () => this.row !== undefined, isFault: false, happen });
  }

  private get row(): Row | undefined {
    return this.initiator.rows('dtx_saga')[0];
  }

  private async first(self: Process): Promise<void> {
    const row = { id: ID, state: 'RUNNING', direction: null, step: 0, claim_token: self.name };
    const columns = Object.keys(row).join(', ');
    const values = Object.values(row);
    const insert = `INSERT INTO dtx_saga (${columns}) VALUES (?, ?, ?, ?, ?)`;
    if (await isDone(this.initiator.pool(self).query(insert, values))) await this.run(self, row, true);
  }

  /** Another instance takes the row, whose lease may expire at any time, until it is over. */
  private async scan(self: Process): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) {
      const token = `${self.name}.${turn}`;
      const row = await self.step<Row>({
        label: 'claims the row',
        isEnabled: () => this.row !== undefined,
        take: () => {
          if (this.row!.state !== 'DONE')
            this.initiator.immediately(self, 'UPDATE dtx_saga SET claim_token = ? WHERE id = ?', [token, ID]);
          return { value: this.row };
        },
      });
      if (isOver(row)) return;
      if (await this.run(self, row)) return;
    }
  }

  /** Runs the saga as far as it goes. True when it is over. */
  private async run(self: Process, row: Row, isFirstRun = false): Promise<boolean> {
    const database = { own: this.initiator.pool(self), nowMs: () => (this.initiator.isOverdue ? 2 * DEADLINE_MS : 0) };
    const options = { leaseMs: 1_000, callTimeoutMs: 1_000, attemptsMax: 1_000, backoff: {} };
    const records = { settled: async () => new Set<string>(), record: async () => {} };
    const rows = new this.code.SagaRows(database as never, { leaseMs: 1_000 } as never, options as never);
    const calls = {
      prepare: (entries: CallEntry[]) => ({ calls: entries, unmade: [] }),
      doAll: (_: unknown, { calls }: { calls: CallEntry[] }) => this.all(self, calls, 'do'),
      undoAll: (_: unknown, entries: CallEntry[]) => this.all(self, entries, 'undo'),
      fence: (_: unknown, pivot: CallEntry) => this.call(self, pivot, 'fence'),
      canJoin: () => false,
    };
    const forward = new this.code.Forward(calls as never, rows, records as never, options as never);
    const compensation = new this.code.Compensation(calls as never, rows, records as never);
    const engine = this.code.SagaEngine.prototype as unknown as Engine;
    const claimed = { ...row, isFirstRun, deadline: new Date(DEADLINE_MS), input: '{}', attempts: 0, results: null };
    try {
      const { end } = await engine.go.call({ forward, compensation, rows }, claimed, SAGA);
      return end.kind === 'completed' && (await rows.settle(end.row as never));
    } catch (error) {
      if (!isOfServer(error)) throw error;
      return false;
    }
  }

  /** The steps of a group are called one after the other, since a process takes one step at a time. */
  private async all(self: Process, entries: readonly CallEntry[], phase: string) {
    const answers = [];
    for (const one of entries) answers.push(await this.call(self, one, phase));
    return answers;
  }

  /** A call is a message: its handler outlives the caller, and a second copy may come at any time. */
  private async call(self: Process, called: CallEntry, phase: string) {
    const id = self.nextName(`${phase} ${called.step.name}`);
    const key = { gid: ID, initiator: 'order', incarnation: 'i', step: called.step.name };
    const deliver = (name: string) => {
      this.world.spawn(name, (handler) => this.handle(handler, id, key, phase), { again: true });
    };
    deliver(id);
    this.world.once({
      label: `a copy of ${id} arrives`,
      isOpen: () => true,
      isFault: true,
      happen: () => deliver(`${id} again`),
    });
    const none = { verdict: 'failed' } as const;
    const verdict = await self.step<Verdict>({
      label: `answer to ${id}`,
      isEnabled: () => this.answers.has(id),
      take: () => ({ value: this.answers.get(id) }),
      faults: () => [{ label: `no answer to ${id}`, take: () => ({ value: none }) }],
    });
    return { ...verdict, entry: called, error: String(verdict.verdict) };
  }

  private async handle(self: Process, id: string, key: StepKey, phase: string): Promise<void> {
    try {
      const isDo = phase === 'do';
      const kind = await (isDo ? this.do(self, key) : this.back(self, key, phase));
      if (kind === 'illegal') this.world.notes.push(`illegal ${id}`);
      const isOk = kind === 'run' || kind === 'repeat' || kind === 'skip';
      this.answers.set(id, { verdict: isOk ? 'ok' : kind, isDone: kind === 'repeat' } as Verdict);
    } catch (error) {
      if (!isOfServer(error)) throw error;
      this.answers.set(id, { verdict: 'failed' });
    }
  }

  private async do(self: Process, key: StepKey): Promise<string> {
    const row = this.code.doRow(key, {});
    const statement = `INSERT INTO ${this.code.BARRIER} (${Object.keys(row)}) VALUES (${Object.keys(row).map(() => '?')})`;
    const first = { statement, values: Object.values(row), ifThere: () => new Known() };
    const run = async (sql: never) => {
      await this.business(sql, `do ${key.step}`);
      return 'run';
    };
    try {
      return await this.participant.run(self, { first, run });
    } catch (error) {
      if (!(error instanceof Known)) throw error;
      return this.participant.transaction(self, async (sql) => (await this.code.knownDo(sql, key, {})).kind);
    }
  }

  private back(self: Process, key: StepKey, phase: string): Promise<string> {
    return this.participant.transaction(self, async (sql) => {
      const enter = phase === 'undo' ? this.code.enterUndo : this.code.enterFence;
      const { kind } = await enter(sql, key, async () => false);
      if (kind === 'run') await this.business(sql as never, `undo ${key.step}`);
      return kind;
    });
  }

  private business(sql: { query(text: string, values: string[]): Promise<unknown> }, what: string): Promise<unknown> {
    return sql.query('INSERT INTO effect (what) VALUES (?)', [what]);
  }

  wrong(): string | undefined {
    const { taken, back, paid } = this.effects();
    if (taken > 1 || back > 1 || paid > 1) return `a step has run twice: ${JSON.stringify(this.effects())}`;
    if (back > taken) return 'a step was undone without having run';
    if (back && paid) return 'the goods are put back, and the money is taken';
    if (this.world.notes.length > 0) return `the participant met an illegal call: ${this.world.notes}`;
    return undefined;
  }

  wrongAtEnd(): string | undefined {
    const { row } = this;
    if (!row) return undefined;
    const { taken, back, paid } = this.effects();
    if (!isOver(row)) return 'the saga has stopped before its end';
    if (row.direction === 'COMPENSATING' && (taken !== back || paid))
      return 'the saga is cancelled, and an effect stays';
    if (row.direction !== 'COMPENSATING' && !(taken === 1 && paid === 1))
      return 'the saga is complete without its effects';
    return undefined;
  }

  private effects() {
    const count = (what: string) => this.participant.effects(what);
    return { taken: count('do stock'), back: count('undo stock'), paid: count('do pay') };
  }
}

class Known extends Error {}

const isOver = ({ state }: Row) => !['RUNNING', 'PIVOT', 'FORWARD', 'COMPENSATING'].includes(String(state));

/** False if the answer was lost. */
const isDone = (statement: Promise<unknown>): Promise<boolean> =>
  statement.then(
    () => true,
    () => false,
  );
