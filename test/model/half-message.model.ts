// Half message: a producer sends one message with its local transaction. The check of another instance, and the sweeper,
// compete with it. Step 2, the verdicts and the check-back are the library's own code.
import { halfMessageMigrations } from '../../libs/dtx/src/half-message/half-message-tables.js';
import type { Edit } from '../mutants/guard-edit.js';
import type { Model } from './explorer.js';
import { libraryCode } from './library-code.js';
import { ModelDatabase } from './model-database.js';
import type { Process } from './process.js';
import { isOfServer } from './server-errors.js';
import { type Budget, World } from './world.js';

interface Code {
  readonly Verdicts: typeof import('../../libs/dtx/src/half-message/verdicts.js')['Verdicts'];
  readonly CheckBack: typeof import('../../libs/dtx/src/half-message/check-back.js')['CheckBack'];
  readonly HalfMessages: typeof import('../../libs/dtx/src/half-message/send-half-message.js')['HalfMessages'];
}
type Prepared = Parameters<InstanceType<Code['CheckBack']>['check']>[0];

const ID = 'm';
const CONTRACT = {
  name: 'sold',
  version: 1,
  consumers: ['order'],
  replicated: true,
  schema: anything(),
  gid: () => ID,
};
const OPTIONS = {
  sendingMax: 1,
  sweepAfterMs: 1,
  payloadMaxBytes: 1_000,
  sweepBackoff: { firstMs: 1, factor: 2, capMs: 9 },
};
const CHECKS_MAX = 2;

export async function halfMessageModel(budget: Budget, edits: readonly Edit[] = []): Promise<Model> {
  // Statements are collected for a few milliseconds. Here each goes alone.
  const batcher = { 'async/batcher.js': { Batcher: Alone } };
  const verdicts = await libraryCode<Code>('half-message/verdicts.ts', edits, batcher);
  const checks = await libraryCode<Code>('half-message/check-back.ts', edits);
  const sends = await libraryCode<Code>('half-message/send-half-message.ts', edits);
  const code = { ...verdicts, ...checks, ...sends };
  const isSwept = !edits.some(({ guard }) => guard === 'half-message.sweeper');
  const shops = new WeakMap<World, Shop>();
  return {
    name: 'half message',
    begin: () => {
      const world = new World(budget);
      shops.set(world, new Shop(world, code, isSwept));
      return world;
    },
    wrong: (world) => shops.get(world)!.wrong(),
    wrongAtEnd: (world) => shops.get(world)!.wrongAtEnd(),
  };
}

class Shop {
  private readonly database: ModelDatabase;
  private delivered = 0;
  private parked = 0;

  constructor(
    private readonly world: World,
    private readonly code: Code,
    /** Whether the sweeper sends a committed row that was not sent. */
    private readonly isSwept: boolean,
  ) {
    this.database = new ModelDatabase(world, 'producer', halfMessageMigrations);
    world.hold(() => [Math.min(this.delivered, 1), this.parked]);
    world.spawn('producer', (self) => this.send(self));
  }

  private partsOf(self: Process) {
    const pool = this.database.pool(self);
    const work = { ...pool, run: (unit: never) => this.database.run(self, unit) };
    const clock = { nowMs: () => 0, newId: () => ID, ageMs: () => 0 };
    const database = { own: pool, work, ...clock, names: { inDatabase: (name: string) => name } };
    const complete = { assertComplete: async () => {} };
    const verdicts = new this.code.Verdicts(database as never, complete as never, OPTIONS as never);
    // The receipts of consumers are another model.
    Object.assign(verdicts, { unsent: async (message: unknown) => ({ message, madeAtMs: 0 }) });
    const messages = {
      checksMax: CHECKS_MAX,
      wait: (prepared: Prepared) => this.publish(self, 'prepared', () => this.prepared(prepared)),
      deliver: () => this.publish(self, 'message', () => this.delivered++),
    };
    return { database, verdicts, messages };
  }

  private publish(self: Process, what: string, arrive: () => unknown): Promise<void> {
    const arrives = (outcome: { value: undefined } | { error: Error }) => () => {
      arrive();
      return outcome;
    };
    const lost = { label: `publishes the ${what}, no confirm comes`, take: arrives({ error: new Unconfirmed() }) };
    const take = arrives({ value: undefined });
    return self.step({ label: `publishes the ${what}`, isEnabled: () => true, take, faults: () => [lost] });
  }

  /** The prepared message expires at some time. A check that dies is redelivered to another instance. */
  private prepared(prepared: Prepared): void {
    this.world.spawn(`check ${prepared.checks + 1}`, (self) => this.check(self, prepared), { again: true });
  }

  private async send(self: Process): Promise<void> {
    const { database, verdicts, messages } = this.partsOf(self);
    const queues = { require: async () => {} };
    const sender = new this.code.HalfMessages(
      database as never,
      messages as never,
      queues as never,
      verdicts,
      OPTIONS as never,
    );
    const sell = async (tx: unknown) => {
      const { query } = tx as { query(text: string, values: string[]): Promise<unknown> };
      await query('INSERT INTO effect (what) VALUES (?)', ['sale']);
    };
    const told = await sender.send(CONTRACT as never, {} as never, sell as never).then(
      () => 'sold',
      (error) => (isOfServer(error) || error instanceof Unconfirmed ? 'unknown' : 'refused'),
    );
    this.world.notes.push(told);
    await sender.onModuleDestroy();
  }

  private async check(self: Process, prepared: Prepared): Promise<void> {
    const { database, verdicts, messages } = this.partsOf(self);
    const parked = { park: async () => void this.parked++ };
    const background = { isContinuous: false, register: () => {} };
    const parts = [database, {}, messages, verdicts, parked, background, {}, OPTIONS] as never[];
    const check = new (this.code.CheckBack as unknown as new (...given: never[]) => InstanceType<Code['CheckBack']>)(
      ...parts,
    );
    for (;;) {
      try {
        return await check.check(prepared);
      } catch (error) {
        // Not acked, so it comes again.
        if (!isOfServer(error) && !(error instanceof Unconfirmed)) throw error;
      }
    }
  }

  private get verdict() {
    return this.database.rows('dtx_half')[0]?.state;
  }

  wrong(): string | undefined {
    const sold = this.database.effects('sale');
    if (this.delivered > 0 && !sold) return 'a message was sent whose sale never was';
    if (this.verdict === 'ROLLED_BACK' && sold) return 'a sale is committed although it was ruled back';
    if (this.world.notes.includes('refused') && sold) return 'the caller was refused, and the sale stands';
    return undefined;
  }

  wrongAtEnd(): string | undefined {
    const sold = this.database.effects('sale');
    const isOpen = this.verdict === 'COMMITTED' || this.verdict === 'SENT';
    const willBeSent = this.isSwept && isOpen;
    if (sold && this.delivered === 0 && !willBeSent) return 'a sale is committed, and nothing will send its message';
    return undefined;
  }
}

class Unconfirmed extends Error {}

/** `Batcher` of one. */
class Alone<Item> {
  constructor(
    _: unknown,
    private readonly write: (items: Item[]) => Promise<void>,
  ) {}

  add(item: Item): Promise<void> {
    return this.write([item]);
  }

  async drain(): Promise<void> {}

  drop(): void {}
}

/** A schema that accepts every value. */
function anything() {
  return { '~standard': { version: 1, vendor: 'model', validate: (value: unknown) => ({ value }) } };
}
