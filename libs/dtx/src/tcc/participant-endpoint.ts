// Participant's side of steps 2 and 4: barrier and business in one local transaction, then the answer, then the ack.
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Semaphore } from '../core/async/semaphore.js';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { Broker } from '../core/broker/broker.service.js';
import type { ConsumedQueue, Delivery } from '../core/broker/consumed-queue.js';
import { fromProperties } from '../core/broker/envelope.js';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { acceptedBy, applySchema, problemOfSchema, type StandardSchema } from '../core/broker/schema.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { DtxError, isBrokerAway, isDoneInPart, OutcomeUnknown, Rejected, textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { withGid, withTraceparent } from '../core/trace-and-gid-context.js';
import { type BarrierDecision, enterCancel, enterConfirm, enterTry, keepData } from './barrier.js';
import type { BranchKey } from './barrier-row-matching.js';
import { type Call, callBody, callerOf, parseJson, type Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';
import { Calls } from './participant-calls.js';
import type { TccBranch } from './participant-class-types.js';
import { callQueueOf, isAnswerQueue, type Participant, secondQueueOf } from './participant-contract.js';
import { Explorer, type MountedParticipant } from './participant-discovery.js';
import { type Arrived, cut, keyOf, Violations } from './protocol-violations.js';
import { TIMEOUT } from './stored-outcome.js';
import { TracedCall } from './traced-phases.js';

/** The result of Try without a schema in its contract. */
const ANY_JSON = z.unknown();

/** A call found no free place within its time limit. It was not begun. */
class NoFreePlace extends OutcomeUnknown {}

function semaphore(what: string, permits: number): Semaphore {
  return new Semaphore(permits, (ms) => new NoFreePlace(`${what} was not begun: no free place within ${ms} ms`));
}

/** The arguments of a call do not fit the contract of this process. */
class Misfit extends Error {}
/** Rolls the transaction back, barrier rows included, and carries the answer. */
class RolledBack extends Error {
  constructor(readonly verdict: Verdict) {
    super(verdict.reason);
  }
}

/**
 * Handles the calls of this app's participants. Every call is answered and acknowledged, and the initiator decides the
 * next step. If the process dies before the commit, no effect remains. After it, the barrier answers the repeated call.
 */
@Injectable()
export class TccEndpoint implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('tcc participant');
  private readonly consumers: ConsumedQueue[] = [];
  private stopping = false;
  /** Bounds the Tries of all participants together, so that connections are left for second phases. */
  private triesAtOnce: Semaphore | undefined;

  constructor(
    private readonly explorer: Explorer,
    private readonly broker: Broker,
    private readonly calls: Calls,
    private readonly database: Database,
    private readonly violations: Violations,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.core.consumers) return;
    const participants = this.explorer.explore();
    this.database.onReady(() => {
      if (!this.stopping) for (const participant of participants) this.serve(participant);
    });
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.consumers.map((consumer) => consumer.stop(this.core.drainMs)));
  }

  private serve(participant: MountedParticipant): void {
    const queue = callQueueOf(participant.contract);
    const { prefetch, secondPhasePrefetch } = this.options;
    const second = { prefetch: secondPhasePrefetch, pausing: 'last' } as const;
    const receive = (delivery: Delivery) => this.receive(delivery, participant);
    this.consumers.push(
      this.broker.consume(queue, receive, { prefetch }),
      // If no instance has its database, second phases are answered `away`, which is not counted as an absence is.
      this.broker.consume(secondQueueOf(participant.contract), receive, second),
    );
    // The same bounds as for the queues. A local call waits for its place, and is not begun after its time limit.
    const tries = semaphore(`Try of ${participant.contract.name}`, prefetch);
    const seconds = semaphore(`second phase of ${participant.contract.name}`, secondPhasePrefetch);
    this.calls.mount(queue, (call, timeoutMs) =>
      (call.phase === 'try' ? tries : seconds).within(timeoutMs, () =>
        this.take({ ...call, isLocal: true }, participant),
      ),
    );
  }

  private async receive(delivery: Delivery, participant: MountedParticipant): Promise<void> {
    const call = callBody.safeParse(parseJson(delivery.message.content));
    if (call.success) {
      const { replyTo, traceparent } = fromProperties(delivery.message.properties);
      const named = { ...call.data, initiator: call.data.initiator ?? callerOf(replyTo) };
      const verdict = await withTraceparent(traceparent, () =>
        withGid(named.gid, () => this.answerOf(named, participant, delivery.lost)),
      );
      if (replyTo && isAnswerQueue(replyTo)) await this.calls.answer(replyTo, { callId: call.data.callId, ...verdict });
    } else {
      const { name } = participant.contract;
      this.logger.warn(`discarded an invalid call of ${name}, without an answer: ${call.error.issues[0]?.message}`);
    }
    delivery.ack();
  }

  /**
   * `away` cancels a Try and delays a second phase. So a call waits for the database, or for the pause that passes it on.
   * In a pause, second phases come only if no other instance takes them. @throws when the delivery is lost
   */
  private async answerOf(call: Arrived, participant: MountedParticipant, lost: AbortSignal): Promise<Verdict> {
    for (;;) {
      const verdict = await this.take(call, participant);
      const isFinal = verdict.verdict !== 'away' || (call.phase !== 'try' && this.broker.isPaused);
      if (isFinal || !(await this.database.writeProblem())) return verdict;
      await sleep(this.core.reconnect.firstMs, undefined, { signal: lost });
    }
  }

  /** Never throws. An error becomes an answer. */
  private async take(call: Arrived, participant: MountedParticipant): Promise<Verdict> {
    const point = call.phase === 'try' ? failpoints.tryCommitted : failpoints.secondCommitted;
    try {
      await failpoint(point, () => this.handle(call, participant));
      if (call.phase === 'confirm') await this.afterConfirm(call, participant);
      return { verdict: 'ok' };
    } catch (error) {
      if (error instanceof RolledBack) return this.refuse(call, participant, error.verdict);
      if (isDoneInPart(error)) return this.violations.recordBroken(call, participant.contract, error);
      if (error instanceof Rejected && call.phase === 'try')
        return { verdict: 'refused', reason: cut(textOf(error.reason)) };
      const reason = cut(textOf(error));
      // A retry has the same arguments, so it cannot succeed. The initiator parks its transaction.
      if (error instanceof Misfit && call.phase !== 'try') return { verdict: 'illegal', reason };
      if (isBrokerAway(error) || (await this.database.isAway(error))) return { verdict: 'away', reason };
      // A locked row or a process without a free place is busy, so the second phase is called again.
      if (isLockWait(error) && call.phase !== 'try') return { verdict: 'away', reason, isBusy: true };
      if (!isLockWait(error) && !(error instanceof NoFreePlace))
        this.logger.error(`${call.phase} of ${participant.contract.name} failed in ${call.gid}, answered: ${reason}`);
      return { verdict: 'failed', reason };
    }
  }

  /** @throws the reason for every answer but `ok` */
  @TracedCall
  private handle(call: Call, participant: MountedParticipant): Promise<void> {
    const key = keyOf(call, participant.contract);
    const run = async (tx: EntityManager, sql: Sql) => {
      // guard: tcc.enter
      const passage = await this.enter(sql, key, call, participant);
      if (passage.kind === 'late') throw new RolledBack({ verdict: 'refused', reason: TIMEOUT });
      if (passage.kind === 'illegal') throw new RolledBack({ verdict: 'illegal', reason: passage.what });
      if (passage.kind === 'unclear') throw new RolledBack({ verdict: 'failed', reason: passage.what });
      if (passage.kind !== 'run') return;
      const returned = await this.business(tx, { call, participant, data: passage.data });
      if (call.phase === 'try')
        await keepData(sql, key, resultOfTry(participant.contract, returned, this.options.payloadMaxBytes));
    };
    const unit = { what: `${call.phase} of ${participant.contract.name}`, run };
    const { work, workSize } = this.database;
    if (call.phase !== 'try') return work.run({ ...unit, lockWaitSeconds: this.secondLockWaitSeconds });
    this.triesAtOnce ??= semaphore('Try', Math.max(1, Math.floor((workSize * 3) / 4)));
    return this.triesAtOnce.within(this.options.timeoutMs, () => work.run(unit));
  }

  /** Shorter than the call, so that a locked row is answered before the initiator's time limit. */
  private get secondLockWaitSeconds(): number {
    return Math.max(1, Math.min(this.core.lockWaitSeconds, Math.floor((this.options.callTimeoutMs * 0.75) / 1_000)));
  }

  /** Runs `@Confirmed`, after the commit. If the process dies here, the initiator confirms again and it runs again. */
  private async afterConfirm(call: Call, { contract, confirmed }: MountedParticipant): Promise<void> {
    if (!confirmed) return;
    const limits = { what: `@Confirmed of ${contract.name}`, limitMs: this.core.handlerTimeoutMs };
    await inTimeOf(limits, () => confirmed(fitting(contract, call), branchOf(call, undefined)));
  }

  private enter(sql: Sql, key: BranchKey, call: Call, participant: MountedParticipant): Promise<BarrierDecision> {
    if (call.phase === 'try') return failpoint(failpoints.tryInserted, () => enterTry(sql, key));
    if (call.phase === 'confirm') return enterConfirm(sql, key);
    return enterCancel(sql, key, participant.cancelWithoutTry);
  }

  private async business(
    tx: EntityManager,
    { call, participant, data }: { call: Call; participant: MountedParticipant; data: unknown },
  ): Promise<unknown> {
    const { contract } = participant;
    const args = fitting(contract, call);
    return participant[call.phase](tx, args, branchOf(call, storedResult(contract, data)));
  }

  private async refuse(call: Arrived, { contract }: MountedParticipant, verdict: Verdict): Promise<Verdict> {
    return verdict.verdict === 'illegal' ? this.violations.refuse(call, contract, verdict.reason ?? '') : verdict;
  }
}

/** The result of Try for Confirm and Cancel. @throws DtxError when it cannot be stored, which undoes the Try */
export function resultOfTry({ name, version, result }: Participant, returned: unknown, bytesMax: number): unknown {
  if (returned === undefined && (!result || applySchema(result, undefined).ok)) return undefined;
  const misfit = `result of Try does not fit TCC participant ${name} v${version}`;
  const subject = { whole: 'result', misfit, option: 'payloadMaxBytes' } as const;
  const { json } = checkedJson(subject, result ?? ANY_JSON, returned, bytesMax);
  return JSON.parse(json);
}

/**
 * The arguments of a call, a copy for every run, since a method or a schema may change them. A local call is not encoded.
 * @throws Misfit
 */
function fitting({ name, args }: Participant, call: Call): unknown {
  return applied(args, structuredClone(call.args), `arguments do not fit ${name}`);
}

/** @throws Misfit if the stored result of Try does not fit the contract of this process */
function storedResult({ name, result }: Participant, data: unknown): unknown {
  return result && data !== undefined ? applied(result, data, `stored result of Try does not fit ${name}`) : data;
}

function applied(schema: StandardSchema, json: unknown, misfit: string): unknown {
  try {
    return acceptedBy(schema, json, misfit);
  } catch (error) {
    throw new Misfit(error instanceof DtxError ? error.message : `${misfit}: ${problemOfSchema(error)}`);
  }
}

function branchOf<Data>({ gid, branch, initiator, reason, decidedAt }: Call, data: Data | undefined): TccBranch<Data> {
  const at = decidedAt === undefined ? undefined : new Date(decidedAt);
  return { gid, branch, initiator, data, reason, decidedAt: at };
}
