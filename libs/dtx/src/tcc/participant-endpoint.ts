// Participant's side of steps 2 and 4: barrier and business in one local transaction, then the answer, then the ack.
import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { Semaphore } from '../core/async/semaphore.js';
import { Broker } from '../core/broker/broker.service.js';
import { type Called, NoFreePlace, placesOf, receiveCall } from '../core/broker/called-side.js';
import type { ConsumedQueue, Delivery } from '../core/broker/consumed-queue.js';
import { Database } from '../core/database/database.service.js';
import { firstUnlessThere, type SqlStatement } from '../core/database/insert-first.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import type { Unit } from '../core/database/unit-of-work.js';
import { isBrokerAway, isDoneInPart, Rejected, textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { directEntry } from './barrier.js';
import { type Call, callBody, callerOf, type Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import { secondLockWaitSeconds, TCC_OPTIONS, type TccOptions } from './options.js';
import { type Joined, PlaceTaken } from './own-participant.js';
import { Calls } from './participant-calls.js';
import { callQueueOf, isAnswerQueue, secondQueueOf } from './participant-contract.js';
import { Explorer, type MountedParticipant } from './participant-discovery.js';
import { type Arrived, cut, keyOf, Violations } from './protocol-violations.js';
import { afterConfirm, Misfit, RolledBack, runPhase } from './run-phase.js';
import { TracedCall } from './traced-phases.js';

/**
 * Handles the calls of this app's participants. Every call is answered and acknowledged, and the initiator decides the
 * next step. If the process dies before the commit, no effect remains. After it, the barrier answers the repeated call.
 */
@Injectable()
export class TccEndpoint implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('tcc participant');
  private readonly consumers: ConsumedQueue[] = [];
  private stopping = false;
  private readonly sharing: SharingByName;
  private triesAtOnce: Semaphore | undefined;

  constructor(
    private readonly explorer: Explorer,
    private readonly broker: Broker,
    private readonly calls: Calls,
    private readonly database: Database,
    private readonly violations: Violations,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {
    this.sharing = new SharingByName(options.callsPerTransaction);
  }

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
    const called = this.called(participant);
    const receive = (delivery: Delivery) => receiveCall(delivery, called);
    this.consumers.push(
      this.broker.consume(queue, receive, { prefetch }),
      // If no instance has its database, second phases are answered `away`, which is not counted as an absence is.
      this.broker.consume(secondQueueOf(participant.contract), receive, second),
    );
    // A local call waits for its place, and is not begun after its time limit.
    const tries = placesOf(`Try of ${participant.contract.name}`, prefetch);
    const seconds = placesOf(`second phase of ${participant.contract.name}`, secondPhasePrefetch);
    const places = ({ phase }: Call) => (phase === 'try' ? tries : seconds);
    this.calls.mount(queue, {
      take: (call, timeoutMs) =>
        places(call).within(timeoutMs, () => this.take({ ...call, isLocal: true }, participant)),
      inPlace: (call, limitMs, work) =>
        places(call).within(limitMs, () => (call.phase === 'try' ? this.tries.within(limitMs, work) : work())),
      join: (call, joined) => this.join(call, participant, joined),
      failed: (call, error) => this.failed({ ...call, isLocal: true }, participant, error),
      committed: (call) =>
        this.committed(call, participant).catch((error) => this.failed({ ...call, isLocal: true }, participant, error)),
    });
  }

  /** Runs a call in the transaction of the initiator in this process. @throws the reason for every answer but `ok` */
  @TracedCall
  private join(call: Call, participant: MountedParticipant, joined: Joined): Promise<void> {
    const work = () => runPhase(joined, call, { participant, bytesMax: this.options.payloadMaxBytes });
    return this.database.guard.inside(`${call.phase} of ${participant.contract.name}`, work);
  }

  /** Calls from a queue. In a pause, second phases come only if no other instance takes them, so they are not waited out. */
  private called(participant: MountedParticipant): Called<Call, Verdict> {
    return {
      name: participant.contract.name,
      body: callBody,
      isAnswerQueue,
      take: (call, replyTo) => this.take({ ...call, initiator: call.initiator ?? callerOf(replyTo) }, participant),
      answer: (to, answer) => this.calls.answer(to, answer),
      writeProblem: () => this.database.writeProblem(),
      mayBeAway: ({ phase }) => phase !== 'try' && this.broker.isPaused,
      retryMs: this.core.reconnect.firstMs,
      logger: this.logger,
    };
  }

  /** Never throws. An error becomes an answer. */
  private async take(call: Arrived, participant: MountedParticipant): Promise<Verdict> {
    const point = call.phase === 'try' ? failpoints.tryCommitted : failpoints.secondCommitted;
    try {
      await failpoint(point, () => this.handle(call, participant));
      return await this.committed(call, participant);
    } catch (error) {
      return this.failed(call, participant, error);
    }
  }

  private async committed(call: Arrived, participant: MountedParticipant): Promise<Verdict> {
    if (call.phase === 'confirm') await afterConfirm(call, participant, this.core.handlerTimeoutMs);
    return { verdict: 'ok' };
  }

  /** The answer to a call that ended with this error. */
  private async failed(call: Arrived, participant: MountedParticipant, error: unknown): Promise<Verdict> {
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

  /** @throws the reason for every answer but `ok` */
  @TracedCall
  private async handle(call: Call, participant: MountedParticipant): Promise<void> {
    const { phase } = call;
    // Cancel has no direct way, since the Try usually has its place.
    // guard: tcc.direct
    const direct = phase === 'cancel' ? undefined : directEntry(keyOf(call, participant.contract), phase);
    try {
      await this.transact(call, participant, direct);
    } catch (error) {
      if (!(error instanceof PlaceTaken)) throw error;
      await this.transact(call, participant, undefined);
    }
  }

  private transact(call: Call, participant: MountedParticipant, direct: SqlStatement | undefined): Promise<void> {
    const isTry = call.phase === 'try';
    const unit: Unit<void> = {
      what: `${call.phase} of ${participant.contract.name}`,
      first: direct && firstUnlessThere(direct, () => new PlaceTaken()),
      sharing: this.sharing.of(`${call.phase} ${participant.contract.name}.v${participant.contract.version}`),
      run: (tx, sql, answers) => {
        // guard: tcc.barrier-joins
        const joined = { tx, sql, answers: direct && answers };
        return runPhase(joined, call, { participant, bytesMax: this.options.payloadMaxBytes });
      },
      lockWaitSeconds: isTry ? undefined : secondLockWaitSeconds(this.core, this.options),
    };
    const run = () => this.database.work.run(unit);
    return isTry ? this.tries.within(this.options.timeoutMs, run) : run();
  }

  /** Bounds the Tries of all participants together, so that connections are left for second phases. */
  private get tries(): Semaphore {
    this.triesAtOnce ??= placesOf('Try', Math.max(1, Math.floor((this.database.workSize * 3) / 4)));
    return this.triesAtOnce;
  }

  private async refuse(call: Arrived, { contract }: MountedParticipant, verdict: Verdict): Promise<Verdict> {
    return verdict.verdict === 'illegal' ? this.violations.refuse(call, contract, verdict.reason ?? '') : verdict;
  }
}
