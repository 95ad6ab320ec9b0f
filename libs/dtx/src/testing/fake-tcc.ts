// Fake of `Tcc`: runs all participants in memory, in the order of the scheme. Without time limits and without retries.
import { acceptedBy } from '../core/broker/schema.js';
import { DtxError, Rejected } from '../core/errors/errors.js';
import { assertGid, newId } from '../core/ids.js';
import { branchesOf } from '../tcc/define-branches.js';
import {
  type Participant,
  type Tcc,
  type TccBranch,
  type TccCalls,
  type TccOutcome,
  type TccRun,
} from '../tcc/index.js';
import { tccOptions, timeoutOf } from '../tcc/options.js';
import { resultOfTry } from '../tcc/run-phase.js';
import { INCOMPLETE, TIMEOUT } from '../tcc/stored-outcome.js';
import type { Branch } from '../tcc/tcc-tables.js';
import { appOf, type FakeOptions, type PublicOf, payloadMaxBytesOf } from './fake-options.js';
import { decorated, type FakeParticipant, keyOf, stubbed, type TccStub } from './fake-tcc-participants.js';
import { inFakeTransaction } from './fake-transaction.js';

/** The column `reason` of a transaction. */
const REASON_CHARS_MAX = 64;

interface FakeBranch extends Branch {
  readonly to: FakeParticipant;
  /** Undefined before a successful Try. */
  tried?: { readonly data: unknown };
}

interface FakeTransaction {
  readonly branches: readonly Branch[];
  outcome: TccOutcome;
}

/**
 * Fake of `Tcc`. Register every participant that the code under test calls, by `participant` or `stub`. Each phase of a
 * participant gets a fake transaction.
 * @example
 *   const tcc = new FakeTcc().stub(inventoryStock, { try: () => { throw new Rejected('OUT_OF_STOCK'); } });
 *   const outcome = await new Checkouts(tcc as unknown as Tcc).checkOut(purchase);
 */
export class FakeTcc implements PublicOf<Tcc> {
  private readonly participants = new Map<string, FakeParticipant>();
  private readonly transactions = new Map<string, FakeTransaction>();

  constructor(private readonly options: FakeOptions = {}) {}

  /** Lets an instance of a `@TccParticipant` class take part. @throws DtxError for another class, or for a missing phase */
  participant(instance: object): this {
    return this.register(decorated(instance));
  }

  /** Lets a stub take part for a participant. Without phases it accepts every Try. */
  stub<Args>(contract: Participant<Args>, stub: TccStub<Args> = {}): this {
    return this.register(stubbed(contract, stub));
  }

  /**
   * Tries all branches, then confirms all or cancels those with a successful Try. A Confirm or Cancel that throws is not
   * repeated, and its participant stays in `waitingFor`.
   * @throws DtxError as `Tcc.run`, and for a participant that is not registered
   */
  async run(run: TccRun, define: (calls: TccCalls) => void): Promise<TccOutcome> {
    const gid = assertGid(run.gid ?? newId());
    const calls = branchesOf(define, payloadMaxBytesOf(this.options));
    timeoutOf(run.timeoutMs, tccOptions.parse({}));
    const branches = calls.branches.map((branch): FakeBranch => ({ ...branch, to: this.participantOf(branch) }));
    await inFakeTransaction(this.options, async (tx) => {
      await run.within?.(tx);
      if (this.transactions.has(gid)) throw new DtxError(`TCC transaction ${gid} exists already; use another gid`);
      if (calls.isIncomplete())
        throw new DtxError(`TCC transaction ${gid} was not begun: a call came after define had returned`);
    });
    const transaction: FakeTransaction = { branches, outcome: { gid, status: 'PENDING', waitingFor: [] } };
    this.transactions.set(gid, transaction);
    const refusal = (await this.tryAll(gid, branches)) ?? (calls.isIncomplete() ? INCOMPLETE : null);
    transaction.outcome = await this.settle(gid, branches, refusal);
    return transaction.outcome;
  }

  async outcome(gid: string, _waitMs = 0): Promise<TccOutcome | null> {
    return this.transactions.get(gid)?.outcome ?? null;
  }

  async argsOf<Args>(gid: string, participant: Participant<Args>): Promise<Args | null> {
    return argsIn(this.transactions.get(gid)?.branches ?? [], participant)[0] ?? null;
  }

  /** The arguments of all calls of a participant, in the order of the calls. */
  called<Args>(participant: Participant<Args>): Args[] {
    return [...this.transactions.values()].flatMap(({ branches }) => argsIn(branches, participant));
  }

  /** Forgets all transactions. The participants stay. */
  clear(): void {
    this.transactions.clear();
  }

  private register(participant: FakeParticipant): this {
    this.participants.set(keyOf(participant.contract), participant);
    return this;
  }

  private participantOf({ participant: name, version }: Branch): FakeParticipant {
    const found = this.participants.get(keyOf({ name, version }));
    if (found) return found;
    throw new DtxError(
      `FakeTcc does not know participant ${name} v${version}; register it with tcc.participant(instance) or tcc.stub(contract)`,
    );
  }

  /** Resolves to the reason of the first failure in time, or to null. */
  private async tryAll(gid: string, branches: readonly FakeBranch[]): Promise<string | null> {
    let reason: string | null = null;
    const tryOne = async (branch: FakeBranch) => {
      try {
        branch.tried = { data: await this.tryBranch(gid, branch) };
      } catch (error) {
        reason ??= error instanceof Rejected ? error.reason.slice(0, REASON_CHARS_MAX) : TIMEOUT;
      }
    };
    await Promise.all(branches.map(tryOne));
    return reason;
  }

  private tryBranch(gid: string, branch: FakeBranch): Promise<unknown> {
    const { to } = branch;
    return inFakeTransaction(this.options, async (tx) => {
      const returned = await to.try(tx, argsFor(branch), this.contextOf(gid, branch));
      return resultOfTry(to.contract, returned, payloadMaxBytesOf(this.options));
    });
  }

  private async settle(gid: string, branches: readonly FakeBranch[], refusal: string | null): Promise<TccOutcome> {
    const decidedAt = new Date();
    const decision = { decidedAt, reason: refusal ?? undefined };
    const open = await Promise.all(
      branches.map(async (branch) => {
        const run = refusal === null ? this.confirm(gid, branch, decision) : this.cancel(gid, branch, decision);
        return run.then(
          () => [],
          () => [branch.participant],
        );
      }),
    );
    const waitingFor = open.flat();
    if (refusal === null) return { gid, status: 'CONFIRMED', decidedAt, waitingFor };
    return { gid, status: 'CANCELLED', reason: refusal, decidedAt, waitingFor };
  }

  private async confirm(gid: string, branch: FakeBranch, decision: Pick<TccBranch, 'decidedAt' | 'reason'>) {
    const { to } = branch;
    const context = this.contextOf(gid, branch, decision);
    await inFakeTransaction(this.options, async (tx) => to.confirm(tx, argsFor(branch), context));
    await to.confirmed(argsFor(branch), { ...context, data: undefined });
  }

  private async cancel(gid: string, branch: FakeBranch, decision: Pick<TccBranch, 'decidedAt' | 'reason'>) {
    const { to } = branch;
    // As the barrier: a Cancel without an effect of Try is skipped.
    if (!branch.tried && !to.cancelWithoutTry) return;
    const context = this.contextOf(gid, branch, decision);
    await inFakeTransaction(this.options, async (tx) => to.cancel(tx, argsFor(branch), context));
  }

  private contextOf(gid: string, { branch, tried }: FakeBranch, decision = {}): TccBranch {
    const undecided = { reason: undefined, decidedAt: undefined };
    return { ...undecided, ...decision, gid, initiator: appOf(this.options), branch, data: tried?.data };
  }
}

/** A copy for every run, as at the real participant. */
const argsFor = ({ to, args }: FakeBranch): unknown =>
  acceptedBy(to.contract.args, structuredClone(args), `arguments do not fit ${to.contract.name}`);

function argsIn<Args>(branches: readonly Branch[], { name, version, args }: Participant<Args>): Args[] {
  const found = branches.filter((branch) => branch.participant === name && branch.version === version);
  return found.map((branch) => acceptedBy(args, structuredClone(branch.args), `arguments do not fit ${name}`));
}
