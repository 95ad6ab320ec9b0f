import { AsyncResource } from 'node:async_hooks';
import { asyncContext, withAsyncContext } from '../async/async-context.js';
import { isDoneInPart } from '../errors/errors.js';
import { isOutcomeUnknown } from '../errors/sql-errors.js';
import { firstUnlessThere, together } from './insert-first.js';
import { Parted } from './parted-transaction.js';
import { SharedTransactionSize } from './shared-transaction-size.js';
import type { RunUnit, SharesTransactions, Unit } from './unit-of-work.js';

/** The largest number of units in one transaction, which holds the row locks of all of them. */
export const UNITS_MAX = 100;
/** A shared transaction that has lasted longer, in milliseconds, takes no further unit. Each runs by itself. */
const LATE_MS = 2_000;
/** The next transaction begins after this time in milliseconds, even if the single unit before still waits for a lock. */
const SINGLE_MS = 100;
/** So many units leave a slow shared transaction first. Then twice as many each time, so a hanging one soon holds up none. */
const LEAVING_FIRST = 4;
/** Transactions have the async context of no caller. */
const OUTSIDE = new AsyncResource('dtx-sharing');

interface Waiting {
  readonly unit: Unit<unknown>;
  /** The async context of its caller: trace, gid, and each AsyncLocalStorage of the user. */
  readonly caller: AsyncResource;
  /** Undefined: the unit runs by itself, and then calls `ended`. */
  readonly resolve: (shared: { readonly result: unknown } | undefined) => void;
  readonly reject: (error: unknown) => void;
  ended?: () => void;
}

/**
 * Units of one consumer, participant or step that may share a transaction, with its packets and its COMMIT. It is all or
 * nothing: after any failure, also a refusal or a duplicate, everything is rolled back and each unit runs by itself. So a
 * failure is always that of the unit. After a lost answer to COMMIT, each finds its rows or throws (`throwsUnknown`).
 * Nothing waits for company: the first unit begins at once, and the next transaction takes those that came meanwhile. Two
 * shared transactions never run at the same time in a process, because they would lock the same rows in another order. If one lasts
 * long, more and more of those behind it run by themselves. If the process dies before COMMIT, no unit has an effect.
 */
export class Sharing implements SharesTransactions {
  private readonly waiting: Waiting[] = [];
  private isBusy = false;
  private readonly size: SharedTransactionSize;

  /** @param sizeMax the largest number of units in one transaction */
  constructor(sizeMax: number) {
    this.size = new SharedTransactionSize(sizeMax);
  }

  /** @throws the error of the unit, or that of a shared transaction which may be committed in part */
  async run<T>(unit: Unit<T>, run: RunUnit): Promise<T> {
    if (this.size.units === 1) return this.alone(unit, run);
    const turn: { own?: Waiting } = {};
    const shared = await new Promise<{ readonly result: unknown } | undefined>((resolve, reject) => {
      turn.own = { unit, caller: new AsyncResource('dtx-unit'), resolve, reject };
      this.waiting.push(turn.own);
      // The deliveries of one read of the socket come in one turn of the event loop.
      if (!this.isBusy && this.waiting.length === 1)
        OUTSIDE.runInAsyncScope(setImmediate, undefined, () => void this.work(run));
    });
    if (shared) return shared.result as T;
    return this.alone(unit, run).finally(turn.own?.ended);
  }

  private async work(run: RunUnit): Promise<void> {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.waiting.length > 0) {
      const isApart = this.size.units === 1;
      const units = this.waiting.splice(0, isApart ? this.waiting.length : this.size.units);
      if (isApart) leave(units);
      else if (units.length === 1) await withPatience(itsTurn(units[0]!));
      else await this.holding(this.share(units, run));
    }
    this.isBusy = false;
  }

  /** While a shared transaction lasts long, those behind it leave. */
  private async holding(transaction: Promise<void>): Promise<void> {
    let leaving = LEAVING_FIRST;
    const ticks = setInterval(() => {
      leave(this.waiting.splice(0, leaving));
      leaving *= 2;
    }, this.size.patienceMs);
    await transaction;
    clearInterval(ticks);
  }

  private async share(units: readonly Waiting[], run: RunUnit): Promise<void> {
    const progress: Progress = { begunMs: 0, isAtCommit: false };
    try {
      const results = await run(unitOf(units, progress));
      this.size.shared(units.length, performance.now() - progress.begunMs);
      for (const [at, { resolve }] of units.entries()) resolve({ result: results[at] });
    } catch (error) {
      this.size.failed();
      // guard: shared.in-part
      const isInPart = isDoneInPart(error);
      // guard: shared.unknown
      const isUnknown = progress.isAtCommit && isOutcomeUnknown(error);
      for (const { unit, resolve, reject } of units) {
        unit.parted?.();
        if (isInPart || (isUnknown && unit.throwsUnknown)) reject(error);
        else resolve(undefined);
      }
    }
  }

  private async alone<T>(unit: Unit<T>, run: RunUnit): Promise<T> {
    let begunMs = performance.now();
    const timed: Unit<T> = {
      ...unit,
      run: (...given) => {
        begunMs = performance.now();
        return unit.run(...given);
      },
    };
    try {
      const result = await run(timed);
      this.size.alone(performance.now() - begunMs);
      return result;
    } catch (error) {
      this.size.failedAlone();
      throw error;
    }
  }
}

/** @returns undefined if each unit has a transaction of its own */
export function sharingOf(sizeMax: number | undefined): Sharing | undefined {
  return sizeMax === undefined || sizeMax === 1 ? undefined : new Sharing(sizeMax);
}

/** The units that may share, by what they run. */
export class SharingByName {
  private readonly byName = new Map<string, Sharing | undefined>();

  constructor(private readonly sizeMax: number) {}

  of(name: string): Sharing | undefined {
    if (!this.byName.has(name)) this.byName.set(name, sharingOf(this.sizeMax));
    return this.byName.get(name);
  }
}

/** Lets a single unit run by itself, and resolves when it has ended. */
function itsTurn(unit: Waiting): Promise<void> {
  return new Promise((resolve) => {
    unit.ended = resolve;
    unit.resolve(undefined);
  });
}

async function withPatience(single: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([single, new Promise((resolve) => (timer = setTimeout(resolve, SINGLE_MS)))]);
  clearTimeout(timer);
}

/** These run by themselves. */
function leave(units: readonly Waiting[]): void {
  for (const { resolve } of units) resolve(undefined);
}

interface Progress {
  /** When the code of the first unit began. */
  begunMs: number;
  /** The code of all has ended. Only the COMMIT and its hooks are left. */
  isAtCommit: boolean;
}

/** One unit of several: their first statements in one packet, then the code of each in turn. */
function unitOf(waiting: readonly Waiting[], progress: Progress): Unit<unknown[]> {
  const units = waiting.map(({ unit }) => unit);
  const firsts = units.map(({ first }) => first).filter((first) => first !== undefined);
  const waits = units.map((unit) => unit.lockWaitSeconds).filter((seconds) => seconds !== undefined);
  const { what, consumer } = units[0]!;
  return {
    what: `${what} (${units.length} in one transaction)`,
    ...(consumer !== undefined && { consumer }),
    lockWaitSeconds: waits.length > 0 ? Math.min(...waits) : undefined,
    isOnce: true,
    throwsUnknown: units.some(({ throwsUnknown }) => throwsUnknown),
    ...(firsts.length > 0 && {
      first: firstUnlessThere(together(firsts), () => new Parted('a row of one is there')),
    }),
    run: async (tx, guard, answers) => {
      Object.assign(progress, { begunMs: performance.now(), isAtCommit: false });
      const results: unknown[] = [];
      const { inside } = asyncContext();
      const { evidence } = guard;
      evidence.isShared = true;
      let end = answers.length - firsts.reduce((sum, { count = 1 }) => sum + count, 0);
      for (const { unit, caller } of waiting) {
        // Also after the time limit of user code, when each of the others runs by itself already.
        if (results.length > 0 && performance.now() - progress.begunMs > LATE_MS) throw new Parted('it lasts too long');
        end += unit.first ? (unit.first.count ?? 1) : 0;
        const its = answers.slice(0, end);
        const own = inside && { ...inside };
        const savepoints = evidence.savepoints.count;
        Object.assign(tx.queryRunner!, { data: {} });
        // guard: shared.trace
        const running = caller.runInAsyncScope(() => withAsyncContext({ inside: own }, () => unit.run(tx, guard, its)));
        results.push(await running);
        if (own) own.isOver = true;
        // A nested transaction that the unit has not awaited is a savepoint too.
        // guard: shared.savepoint
        if (evidence.savepoints.count > savepoints) throw new Parted('one has left a savepoint to the next one');
        // guard: shared.session
        if (guard.isAltered) throw new Parted('one has changed the session, which the next one would see');
      }
      progress.isAtCommit = true;
      return results;
    },
  };
}
