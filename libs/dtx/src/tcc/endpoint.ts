// Participant's side of steps 2 and 4: barrier and business in one local transaction, then the answer, then the ack.
import { Inject, Injectable, Logger, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Semaphore } from '../core/async/semaphore.js';
import { inTimeOf } from '../core/async/time-limit.js';
import { Broker } from '../core/broker/broker.service.js';
import { fromProperties } from '../core/broker/envelope.js';
import { checkedJson } from '../core/broker/payload.js';
import type { Delivery, QueueConsumer } from '../core/broker/queue-consumer.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts } from '../core/durable/alerts.js';
import { isBrokerAway, isDoneInPart, OutcomeUnknown, Rejected, textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { withGid, withTraceparent } from '../core/trace.js';
import { enterCancel, enterConfirm, enterTry, keepData, markBroken, type Passage } from './barrier.js';
import type { BranchKey } from './branch-rows.js';
import { type Call, Calls, callBody, callerOf, parseJson, REASON_CHARS_MAX, type Verdict } from './calls.js';
import { callQueueOf, isAnswerQueue, secondQueueOf } from './contract.js';
import type { TccBranch } from './decorators.js';
import { Explorer, type Mounted } from './explorer.js';
import { failpoints, SCHEME } from './failpoints.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';
import { TIMEOUT } from './outcome.js';
import { UNKNOWN } from './tcc-tables.js';

/** What Try returns has no contract but JSON. */
const ANYTHING = z.unknown();

/** A call waited for its place longer than its caller does. It was not begun. */
class NoPlace extends OutcomeUnknown {}

function semaphore(what: string, permits: number): Semaphore {
  return new Semaphore(permits, (ms) => new NoPlace(`${what}: no place within ${ms} ms, not begun`));
}

/** Rolls the transaction back, barrier rows included, and carries what is to be answered. */
class RolledBack extends Error {
  constructor(readonly verdict: Verdict) {
    super(verdict.reason);
  }
}

/** Takes the calls of this app's participants. Every call is answered and acked: the initiator decides what comes next. */
@Injectable()
export class TccEndpoint implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger('TccParticipant');
  private readonly consumers: QueueConsumer[] = [];
  private stopping = false;
  /** Tries of all participants together: they leave connections to the second phases, whatever they wait for. */
  private triesAtOnce: Semaphore | undefined;

  constructor(
    private readonly explorer: Explorer,
    private readonly broker: Broker,
    private readonly calls: Calls,
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {}

  onApplicationBootstrap(): void {
    const participants = this.explorer.explore();
    this.database.onReady(() => {
      if (!this.stopping) for (const participant of participants) this.serve(participant);
    });
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.consumers.map((consumer) => consumer.stop(this.core.drainMs)));
  }

  private serve(participant: Mounted): void {
    const queue = callQueueOf(participant.contract);
    const { prefetch, secondPhasePrefetch } = this.options;
    const receive = (delivery: Delivery) => this.receive(delivery, participant);
    this.consumers.push(
      this.broker.consume(queue, receive, { prefetch }),
      this.broker.consume(secondQueueOf(participant.contract), receive, { prefetch: secondPhasePrefetch }),
    );
    // As many as come by the queues: a call in this process waits for its place, and is not begun when its time is up.
    const tries = semaphore(`Try of ${participant.contract.name}`, prefetch);
    const seconds = semaphore(`second phase of ${participant.contract.name}`, secondPhasePrefetch);
    this.calls.mount(queue, (call, timeoutMs) =>
      (call.phase === 'try' ? tries : seconds).within(timeoutMs, () => this.take(call, participant)),
    );
  }

  private async receive(delivery: Delivery, participant: Mounted): Promise<void> {
    const call = callBody.safeParse(parseJson(delivery.message.content));
    if (call.success) {
      const { replyTo, traceparent } = fromProperties(delivery.message.properties);
      const named = { ...call.data, initiator: call.data.initiator ?? callerOf(replyTo) };
      const verdict = await withTraceparent(traceparent, () => withGid(named.gid, () => this.take(named, participant)));
      if (replyTo && isAnswerQueue(replyTo)) await this.calls.answer(replyTo, { callId: call.data.callId, ...verdict });
    } else {
      const problem = call.error.issues[0]?.message;
      this.logger.warn(`${participant.contract.name}: dropped a call that cannot be read: ${problem}`);
    }
    delivery.ack();
  }

  /** Never throws: what goes wrong is an answer. */
  private async take(call: Call, participant: Mounted): Promise<Verdict> {
    const point = call.phase === 'try' ? failpoints.tryCommitted : failpoints.secondCommitted;
    try {
      await failpoint(point, () => this.handle(call, participant));
      if (call.phase === 'confirm') await this.afterConfirm(call, participant);
      return { verdict: 'ok' };
    } catch (error) {
      if (error instanceof RolledBack) return this.refuse(call, participant, error.verdict);
      if (isDoneInPart(error)) return this.keepBroken(call, participant, error);
      if (error instanceof Rejected && call.phase === 'try')
        return { verdict: 'refused', reason: cut(textOf(error.reason)) };
      const reason = cut(textOf(error));
      if (isBrokerAway(error) || (await this.database.isAway(error))) return { verdict: 'away', reason };
      // A row that is locked, or a process without a free place, is busy: the second phase is asked for again.
      if (isLockWait(error) && call.phase !== 'try') return { verdict: 'away', reason, isBusy: true };
      if (!isLockWait(error) && !(error instanceof NoPlace))
        this.logger.error(`${call.phase} of ${participant.contract.name} in ${call.gid}: ${reason}`);
      return { verdict: 'failed', reason };
    }
  }

  private handle(call: Call, participant: Mounted): Promise<void> {
    const key = keyOf(call, participant);
    const run = async (tx: EntityManager, sql: Sql) => {
      // guard: tcc.enter
      const passage = await this.enter(sql, key, call, participant);
      if (passage.kind === 'late') throw new RolledBack({ verdict: 'refused', reason: TIMEOUT });
      if (passage.kind === 'illegal') throw new RolledBack({ verdict: 'illegal', reason: passage.what });
      if (passage.kind === 'unclear') throw new RolledBack({ verdict: 'failed', reason: passage.what });
      if (passage.kind !== 'run') return;
      const returned = await this.business(tx, { call, participant, data: passage.data });
      if (call.phase === 'try') await keepData(sql, key, this.resultOf(participant, returned));
    };
    const unit = { what: `${call.phase} of ${participant.contract.name}`, run };
    const { work, workSize } = this.database;
    if (call.phase !== 'try') return work.run({ ...unit, lockWaitSeconds: this.secondLockWaitSeconds });
    this.triesAtOnce ??= semaphore('Try', Math.max(1, Math.floor((workSize * 3) / 4)));
    return this.triesAtOnce.within(this.options.timeoutMs, () => work.run(unit));
  }

  /** Shorter than the call, so that a locked row is answered before the initiator gives the call up. */
  private get secondLockWaitSeconds(): number {
    return Math.max(1, Math.min(this.core.lockWaitSeconds, Math.floor((this.options.callTimeoutMs * 0.75) / 1_000)));
  }

  /** Committed, not answered: should the process die here, the initiator confirms again, and comes by here again. */
  private async afterConfirm(call: Call, { contract, confirmed }: Mounted): Promise<void> {
    if (!confirmed) return;
    const limits = { what: `@Confirmed of ${contract.name}`, limitMs: this.core.handlerTimeoutMs };
    await inTimeOf(limits, () => confirmed(contract.args.parse(structuredClone(call.args)), branchOf(call, undefined)));
  }

  private enter(sql: Sql, key: BranchKey, call: Call, participant: Mounted): Promise<Passage> {
    if (call.phase === 'try') return failpoint(failpoints.tryInserted, () => enterTry(sql, key));
    if (call.phase === 'confirm') return enterConfirm(sql, key);
    return enterCancel(sql, key, participant.cancelWithoutTry);
  }

  private async business(
    tx: EntityManager,
    { call, participant, data }: { call: Call; participant: Mounted; data: unknown },
  ): Promise<unknown> {
    // A copy for every run: a method may change its arguments, and so may a schema. A call in this process is not encoded.
    const args = participant.contract.args.safeParse(structuredClone(call.args));
    if (!args.success) throw new Error(`the arguments do not fit: ${args.error.issues[0]?.message}`);
    return participant[call.phase](tx, args.data, branchOf(call, data));
  }

  /** What Try returned, as Confirm and Cancel will see it. @throws DtxError when it cannot be kept: the Try is undone */
  private resultOf({ contract: { name, version } }: Mounted, returned: unknown): unknown {
    if (returned === undefined) return undefined;
    const misfit = `result of Try does not fit TCC participant ${name} v${version}`;
    const subject = { whole: 'result', misfit, option: 'payloadMaxBytes' } as const;
    return checkedJson(subject, ANYTHING, returned, this.options.payloadMaxBytes).value;
  }

  /** An illegal call cannot happen while everybody keeps the protocol: one alert, however often it comes. */
  private async refuse(call: Call, { contract }: Mounted, verdict: Verdict): Promise<Verdict> {
    if (verdict.verdict !== 'illegal') return verdict;
    const step = `${verdict.reason} at ${contract.name}`;
    const initiator = call.initiator ?? 'the initiator';
    const lastError = `${verdict.reason}: refused, nothing was changed; see what ${initiator} has decided for ${call.gid}`;
    return this.callForHelp({ step, lastError }, call);
  }

  /**
   * A statement of the business has committed a part of it, and maybe the barrier's row with it: to run it again would do
   * that part twice, to answer ok would leave the rest undone. If the process dies before this commits, the call comes
   * again: the row, if it is there, then passes for done. The error names the statement, which must not be there at all.
   */
  private keepBroken(call: Call, participant: Mounted, { message }: Error): Promise<Verdict> {
    const step = `${call.phase} of branch ${call.branch} at ${participant.contract.name}`;
    this.logger.error(`${step} in ${call.gid} is done in part: ${message}`);
    const phase = call.phase === 'try' ? 'try' : 'second';
    const keep = (sql: Sql) => markBroken(sql, keyOf(call, participant), phase);
    return this.callForHelp({ step, lastError: `a part of it may be done: ${message}` }, call, keep);
  }

  /** One alert, however often it comes. The initiator parks its transaction. */
  private async callForHelp(
    { step, lastError }: { step: string; lastError: string },
    { gid }: Call,
    keep: (sql: Sql) => Promise<void> = async () => {},
  ): Promise<Verdict> {
    const incident = { scheme: SCHEME, id: gid, gid, step, lastError };
    try {
      const isNew = await this.database.own.transaction(async (sql) => {
        await keep(sql);
        return this.alerts.raise(sql, incident);
      });
      if (isNew) this.alerts.announce(incident);
    } catch (error) {
      return { verdict: 'failed', reason: cut(`${step}, and no alert could be raised: ${textOf(error)}`) };
    }
    return { verdict: 'illegal', reason: cut(lastError) };
  }
}

/** An answer with a longer reason would not be read by its initiator. */
function cut(reason: string): string {
  return reason.slice(0, REASON_CHARS_MAX);
}

function keyOf({ gid, branch, initiator = UNKNOWN, incarnation = UNKNOWN }: Call, { contract }: Mounted): BranchKey {
  // guard: tcc.key
  return { gid, branch, participant: contract.name, initiator, incarnation };
}

function branchOf<Data>({ gid, branch, initiator, reason, decidedAt }: Call, data: Data | undefined): TccBranch<Data> {
  const at = decidedAt === undefined ? undefined : new Date(decidedAt);
  return { gid, branch, initiator, data, reason, decidedAt: at };
}
