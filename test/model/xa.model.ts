// XA: one purchase with two branches and the last resource. Recovery of another instance competes with a manager that may be
// paused at any step. The decision log and the resolution by witness are the library's own code.
import { decisionMigrations } from '../../libs/dtx/src/xa/xa-tables.js';
import type { Edit } from '../mutants/guard-edit.js';
import type { Model } from './explorer.js';
import { libraryCode } from './library-code.js';
import { ModelBranchDatabase, type Vendor } from './model-branch-database.js';
import { ModelDatabase } from './model-database.js';
import type { Process } from './process.js';
import { isOfServer } from './server-errors.js';
import type { Row } from './statements.js';
import { type Budget, World } from './world.js';

type Log = typeof import('../../libs/dtx/src/xa/decision-log-entries.js');
type Resolving = typeof import('../../libs/dtx/src/xa/resolve-by-witness.js');

type Work = ReturnType<ModelBranchDatabase['work']>;

const GTRID = 'gtrid';
const ABOUT = { id: 'x', gid: 'x', gtrid: GTRID, branches: 'payment,inventory' };
const TIMES = { startMs: 0, deadlineMs: 1_000 } as never;
/** Later turns wait for the end of the manager, since an answer cannot change before. */
const TURNS = 2;

export function xaModel(vendor: Vendor): (budget: Budget, edits?: readonly Edit[]) => Promise<Model> {
  return async (budget, edits = []) => {
    const log = await libraryCode<Log>('xa/decision-log-entries.ts', edits);
    const resolving = await libraryCode<Resolving>('xa/resolve-by-witness.ts', edits);
    const purchases = new WeakMap<World, Purchase>();
    return {
      name: `XA on ${vendor}`,
      begin: () => {
        const world = new World(budget);
        purchases.set(world, new Purchase(world, vendor, { ...log, ...resolving }));
        return world;
      },
      wrong: (world) => purchases.get(world)!.wrong(),
      wrongAtEnd: (world) => purchases.get(world)!.wrongAtEnd(),
    };
  };
}

class Purchase {
  private readonly log: ModelDatabase;
  private readonly branches: readonly ModelBranchDatabase[];
  private readonly manager: Process;

  constructor(
    private readonly world: World,
    vendor: Vendor,
    private readonly code: Log & Resolving,
  ) {
    this.log = new ModelDatabase(world, 'log', decisionMigrations);
    this.branches = ['payment', 'inventory'].map((name) => new ModelBranchDatabase(world, name, vendor, GTRID));
    this.manager = world.spawn('manager', (self) => this.buy(self));
    world.spawn('recovery', (self) => this.recover(self), { again: true });
    const happen = () => {
      this.log.isOverdue = true;
    };
    world.once({ label: 'the deadline passes', isOpen: () => true, isFault: false, happen });
  }

  private get row(): Row | undefined {
    return this.log.rows('dtx_xa')[0];
  }

  private decisionsOf(self: Process) {
    const database = { own: this.log.pool(self), names: { inDatabase: (name: string) => name } };
    const times = { leaseMs: 1_000, reconnect: {} };
    const options = { callTimeoutMs: 1_000 };
    const decisions = new this.code.Decisions(database as never, {} as never, times as never, options as never);
    return Object.assign(decisions, { token: self.name });
  }

  private async buy(self: Process): Promise<void> {
    const works = this.branches.map((branch) => branch.work(self));
    await this.buyIn(works, self);
    for (const work of works) work.close();
  }

  private async buyIn(works: readonly Work[], self: Process): Promise<void> {
    try {
      for (const [index, { sql }] of works.entries()) {
        const witness = 'INSERT INTO dtx_xa_witness (gtrid, branch, who) VALUES (?, ?, ?)';
        await sql.query(witness, [GTRID, ABOUT.branches.split(',')[index]!, 'branch']);
        await sql.query('INSERT INTO effect (what) VALUES (?)', ['taken']);
      }
      for (const work of works) await work.prepare();
    } catch (error) {
      if (!isOfServer(error)) throw error;
      return this.endAll(works, 'ROLLBACK');
    }
    const decision = await this.decide(self);
    this.world.notes.push(`told ${decision}`);
    // Unknown: no branch may be touched.
    if (decision) await this.endAll(works, decision);
  }

  /** The business of the last resource and the decision are one commit. */
  private async decide(self: Process): Promise<'COMMIT' | 'ROLLBACK' | null> {
    const decisions = this.decisionsOf(self);
    const { sql: statement, values } = decisions.commitSql(ABOUT as never, TIMES);
    try {
      await this.log.transaction(self, async (sql) => {
        await sql.query('INSERT INTO effect (what) VALUES (?)', ['order']);
        await sql.query(statement, values);
      });
      return 'COMMIT';
    } catch (error) {
      if (!isOfServer(error)) throw error;
      const learned = await decisions.presumeRollback(ABOUT as never, 0).catch((unknown) => {
        if (isOfServer(unknown)) return { decision: null };
        throw unknown;
      });
      return learned.decision;
    }
  }

  private async endAll(works: readonly Work[], how: 'COMMIT' | 'ROLLBACK') {
    for (const work of works)
      await work.end(how).catch((error) => {
        if (!isOfServer(error)) throw error;
      });
  }

  private async recover(self: Process): Promise<void> {
    for (let turn = 0; ; turn++) {
      const isLate = () => turn < TURNS || this.manager.hasEnded || this.manager.isDead;
      await self.until('looks at the branches', () => isLate() && (this.isInDoubt || this.isOpen));
      try {
        if (!this.row) await this.presume(self);
        if (this.row) await this.carryOut(self, String(this.row.decision));
      } catch (error) {
        if (!isOfServer(error)) throw error;
      }
    }
  }

  private get isInDoubt(): boolean {
    return !this.row && this.log.isOverdue && this.branches.some(({ isPrepared }) => isPrepared);
  }

  private get isOpen(): boolean {
    return this.row !== undefined && this.row.state !== 'DONE';
  }

  private async presume(self: Process): Promise<void> {
    const decisions = this.decisionsOf(self);
    if (!(await decisions.isDecisionOpen(ABOUT.id))) await decisions.presumeRollback(ABOUT as never, 0);
  }

  private async carryOut(self: Process, decision: string): Promise<void> {
    self.seen.push(decision);
    const resolve = decision === 'COMMIT' ? this.code.commitBranch : this.code.rollBackBranch;
    for (const branch of this.branches) {
      const resource = branch.resource(self);
      const end = await resolve({ resource: resource as never, gtrid: GTRID, branch: resource.name });
      if (end === 'heuristic') this.world.notes.push(`heuristic ${resource.name}`);
      if (end !== 'done') return;
    }
    await this.log.pool(self).query(`UPDATE dtx_xa SET state = 'DONE' WHERE id = ?`, [ABOUT.id]);
  }

  wrong(): string | undefined {
    const order = this.log.effects('order');
    const taken = this.branches.map((branch) => branch.effects('taken'));
    if (this.row?.decision === 'ROLLBACK' && taken.some(Boolean)) return 'a branch is committed against the decision';
    if (!this.row && taken.some(Boolean)) return 'a branch is committed without a decision';
    if (this.world.notes.includes('told COMMIT') && !order)
      return 'the caller was told of an order that does not exist';
    if (this.world.notes.includes('told ROLLBACK') && order) return 'the caller was refused, and the order exists';
    const heuristic = this.world.notes.find((note) => note.startsWith('heuristic'));
    return heuristic && `${heuristic}: no operator has touched it`;
  }

  wrongAtEnd(): string | undefined {
    const order = this.log.effects('order');
    if (this.branches.some(({ isPrepared }) => isPrepared)) return 'a branch stays prepared';
    if (this.branches.some((branch) => branch.effects('taken') !== order)) return 'the databases disagree';
    if (this.isOpen && (this.manager.isDead || this.manager.hasEnded)) return 'recovery has stopped before its end';
    return undefined;
  }
}
