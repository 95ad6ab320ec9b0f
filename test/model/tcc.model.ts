// TCC: one transaction with one participant. An initiator confirms, the deadline and another instance compete with it, and a
// call may arrive twice. The barrier and both compare-and-sets are the library's own code.
import { tccMigrations } from '../../libs/dtx/src/tcc/tcc-tables.js';
import type { Edit } from '../mutants/guard-edit.js';
import type { Model } from './explorer.js';
import { libraryCode } from './library-code.js';
import { ModelDatabase } from './model-database.js';
import type { Process } from './process.js';
import { isOfServer } from './server-errors.js';
import type { Row } from './statements.js';
import { type Budget, World } from './world.js';

type Barrier = typeof import('../../libs/dtx/src/tcc/barrier.js');
type DecisionCode = typeof import('../../libs/dtx/src/tcc/decision.js');
type SecondPhaseCode = typeof import('../../libs/dtx/src/tcc/second-phase.js');
type Phase = 'try' | 'confirm' | 'cancel';

const GID = 'g';
const KEY = { gid: GID, branch: 0, participant: 'stock', initiator: 'order', incarnation: 'i1' };
const CORE = { leaseMs: 1_000 };
const OPTIONS = { callTimeoutMs: 1_000, secondPhaseWaitMs: 1_000 };

export async function tccModel(budget: Budget, edits: readonly Edit[] = []): Promise<Model> {
  const barrier = await libraryCode<Barrier>('tcc/barrier.ts', edits);
  const { Decisions } = await libraryCode<DecisionCode>('tcc/decision.ts', edits);
  const { SecondPhase } = await libraryCode<SecondPhaseCode>('tcc/second-phase.ts', edits);
  const worlds = new WeakMap<World, Shop>();
  const shopOf = (world: World) => worlds.get(world)!;
  return {
    name: 'TCC',
    begin: () => {
      const world = new World(budget);
      worlds.set(world, new Shop(world, { barrier, Decisions, SecondPhase }));
      return world;
    },
    wrong: (world) => shopOf(world).wrong(),
    wrongAtEnd: (world) => shopOf(world).wrongAtEnd(),
  };
}

interface Code {
  readonly barrier: Barrier;
  readonly Decisions: DecisionCode['Decisions'];
  readonly SecondPhase: SecondPhaseCode['SecondPhase'];
}

class Shop {
  private readonly initiator: ModelDatabase;
  private readonly participant: ModelDatabase;
  private answers = new Map<string, string>();

  constructor(
    private readonly world: World,
    private readonly code: Code,
  ) {
    this.initiator = new ModelDatabase(world, 'initiator', tccMigrations);
    this.participant = new ModelDatabase(world, 'participant', tccMigrations);
    world.hold(() => [...this.answers]);
    world.spawn('caller', (self) => this.purchase(self));
    world.once({
      label: 'the deadline passes',
      isOpen: () => this.row !== undefined,
      isFault: false,
      happen: () => {
        this.initiator.isOverdue = true;
      },
    });
    world.spawn('scan', (self) => this.scan(self), { again: true });
  }

  private get row() {
    return this.initiator.rows('dtx_tcc')[0];
  }

  private async purchase(self: Process): Promise<void> {
    const sql = this.initiator.pool(self);
    const insert = 'INSERT INTO dtx_tcc (id, incarnation, state, decision, claim_token) VALUES (?, ?, ?, ?, ?)';
    const isRegistered = await isDone(sql.query(insert, [GID, KEY.incarnation, 'TRYING', null, null]));
    if (!isRegistered) return;
    const tried = await this.call(self, 'try');
    const row = await this.decide(self, tried === 'ok' ? 'CONFIRM' : 'CANCEL').catch(() => null);
    if (!row) return;
    this.world.notes.push(`told ${row.decision}`);
    await this.second(self, String(row.decision));
  }

  private decide(self: Process, decision: 'CONFIRM' | 'CANCEL') {
    const sql = this.initiator.pool(self);
    const database = { work: sql, own: sql, nowMs: () => 0 };
    const decisions = new this.code.Decisions(
      database as never,
      { firstOwn: () => undefined } as never,
      CORE as never,
      OPTIONS as never,
    );
    Object.assign(decisions, { token: self.name });
    const begun = { gid: GID, incarnation: KEY.incarnation, calls: { branches: [] } };
    return decisions.make(begun as never, decision, null);
  }

  /** Another instance: cancels past the deadline, and repeats the second phase of a decision. */
  private async scan(self: Process): Promise<void> {
    for (;;) {
      const row = await this.claim(self);
      if (row.state === 'CONFIRMED' || row.state === 'CANCELLED') return;
      const decision = row.decision ?? (await this.cancelOverdue(self));
      if (decision && (await this.second(self, String(decision)))) return;
    }
  }

  /** A lease may expire at any time, since the process that has it may be paused. */
  private claim(self: Process): Promise<Row> {
    const isDue = () => !!this.row && (this.row.decision !== null || this.initiator.isOverdue);
    const claim = 'UPDATE dtx_tcc SET claim_token = ? WHERE id = ? AND state IN (?)';
    const values = [self.name, GID, ['TRYING', 'CONFIRMING', 'CANCELLING']];
    const take = () => {
      this.initiator.immediately(self, claim, values);
      return { value: this.row };
    };
    return self.step({ label: 'claims the row', isEnabled: isDue, take });
  }

  private async cancelOverdue(self: Process): Promise<string | null> {
    const sql = this.initiator.pool(self);
    const { cancelOverdue } = this.code.SecondPhase.prototype as unknown as {
      cancelOverdue(row: unknown): Promise<{ decision: string } | null>;
    };
    const scan = {
      database: { own: sql, nowMs: () => 0 },
      core: CORE,
      options: OPTIONS,
      awaitDeadline: async () => {},
    };
    const row = await cancelOverdue.call(scan, { id: GID, claim_token: self.name }).catch(() => null);
    return row?.decision ?? null;
  }

  /** Calls the participant until it has answered, and marks the row. */
  private async second(self: Process, decision: string): Promise<boolean> {
    const answer = await this.call(self, decision === 'CONFIRM' ? 'confirm' : 'cancel');
    if (answer !== 'ok') return false;
    const marks = 'UPDATE dtx_tcc SET state = ? WHERE id = ? AND state IN (?)';
    const final = decision === 'CONFIRM' ? 'CONFIRMED' : 'CANCELLED';
    return isDone(this.initiator.pool(self).query(marks, [final, GID, ['CONFIRMING', 'CANCELLING']]));
  }

  /** A call is a message: its handler outlives the caller, and a second copy may come at any time. */
  private async call(self: Process, phase: Phase): Promise<string | undefined> {
    const id = self.nextName(phase);
    this.deliver(id, phase);
    const again = { label: `a copy of ${id} arrives`, happen: () => this.deliver(`${id} again`, phase) };
    this.world.once({ ...again, isOpen: () => true, isFault: true });
    await self.step({
      label: `answer to ${id}`,
      isEnabled: () => this.answers.has(id),
      take: () => ({ value: this.answers.get(id) }),
      faults: () => [{ label: `no answer to ${id}`, take: () => ({ value: undefined }) }],
    });
    return this.answers.get(id);
  }

  private deliver(id: string, phase: Phase): void {
    this.world.spawn(id, (self) => this.handle(self, id, phase), { again: true });
  }

  private async handle(self: Process, id: string, phase: Phase): Promise<void> {
    try {
      const kind = await this.participant.transaction(self, async (sql) => {
        const decision = await this.enter(sql, phase);
        if (decision.kind === 'run') await sql.query('INSERT INTO effect (what) VALUES (?)', [phase]);
        if (decision.kind === 'illegal' || decision.kind === 'late') throw new Refused(decision.kind);
        return decision.kind;
      });
      this.answers.set(id, kind === 'unclear' ? 'failed' : 'ok');
    } catch (error) {
      if (!(error instanceof Refused) && !isOfServer(error)) throw error;
      this.answers.set(id, error instanceof Refused ? error.message : 'failed');
      if (error instanceof Refused && error.message === 'illegal') this.world.notes.push(`illegal ${phase}`);
    }
  }

  private enter(sql: Parameters<Barrier['enterTry']>[0], phase: Phase) {
    if (phase === 'try') return this.code.barrier.enterTry(sql, KEY);
    return phase === 'confirm'
      ? this.code.barrier.enterConfirm(sql, KEY)
      : this.code.barrier.enterCancel(sql, KEY, false);
  }

  wrong(): string | undefined {
    const [tried, confirmed, cancelled] = this.counts();
    if (tried > 1 || confirmed > 1 || cancelled > 1) return `a phase has run twice: ${this.counts()}`;
    if (confirmed + cancelled > tried) return 'a second phase has run without its Try';
    if (confirmed && cancelled) return 'both second phases have run';
    const told = this.world.notes.find((note) => note.startsWith('told'))?.slice(5);
    if (told && this.row!.decision !== told)
      return `the caller was told ${told}, and the decision is ${this.row!.decision}`;
    if (this.world.notes.some((note) => note.startsWith('illegal'))) return 'the participant met an illegal call';
    return undefined;
  }

  wrongAtEnd(): string | undefined {
    const { row } = this;
    if (!row) return undefined;
    const [tried, confirmed, cancelled] = this.counts();
    if (row.state === 'TRYING' && this.initiator.isOverdue) return 'the transaction is undecided past its deadline';
    if (row.state === 'CONFIRMED' && confirmed !== 1) return 'the transaction is confirmed without an effect';
    if (row.state === 'CANCELLED' && tried !== cancelled)
      return 'the transaction is cancelled, and its reservation stays';
    if (row.state === 'CONFIRMING' || row.state === 'CANCELLING') return 'the second phase has stopped';
    return undefined;
  }

  private counts(): [number, number, number] {
    return [this.participant.effects('try'), this.participant.effects('confirm'), this.participant.effects('cancel')];
  }
}

class Refused extends Error {}

/** False if the answer was lost. */
const isDone = (statement: Promise<unknown>): Promise<boolean> =>
  statement.then(
    () => true,
    () => false,
  );
