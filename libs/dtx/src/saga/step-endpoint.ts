// The app of a step: takes calls of queues and of this process, answers each, then acknowledges.
import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { type Called, NoFreePlace, placesOf, receiveCall } from '../core/broker/called-side.js';
import type { ConsumedQueue } from '../core/broker/consumed-queue.js';
import { Database } from '../core/database/database.service.js';
import { isBrokerUnavailable, isDoneInPart, textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { type Call, callBody, callQueueOf, cut, isAnswerQueue, type Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import { ClaimLost, type Joined, StepRuns } from './run-step.js';
import { StepCalls } from './step-calls.js';
import { type MountedStep, StepExplorer } from './step-discovery.js';
import { Misfit } from './step-results.js';
import { type Arrived, StepViolations } from './step-violations.js';
import { TracedCall } from './traced-saga.js';

/**
 * Handles the calls of this app's steps. Every call is answered and acknowledged, and the saga decides what to do next.
 */
@Injectable()
export class StepEndpoint implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('saga step');
  private readonly consumers: ConsumedQueue[] = [];
  private stopping = false;

  constructor(
    private readonly explorer: StepExplorer,
    private readonly broker: Broker,
    private readonly calls: StepCalls,
    private readonly runs: StepRuns,
    private readonly database: Database,
    private readonly violations: StepViolations,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {}

  onApplicationBootstrap(): void {
    const steps = this.explorer.explore();
    if (!this.core.consumers) return;
    this.database.onReady(() => {
      if (!this.stopping) for (const step of steps) this.serve(step);
    });
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.consumers.map((consumer) => consumer.stop(this.core.drainMs)));
  }

  private serve(step: MountedStep): void {
    const { name } = step.contract;
    const queue = callQueueOf(step.contract);
    const { prefetch } = this.options;
    const called: Called<Call, Verdict> = {
      name,
      body: callBody,
      isAnswerQueue,
      take: (call) => this.take(call, step),
      answer: (to, answer) => this.calls.answer(to, answer),
      writeProblem: () => this.database.writeProblem(),
      retryMs: this.core.reconnect.firstMs,
      logger: this.logger,
    };
    this.consumers.push(this.broker.consume(queue, (delivery) => receiveCall(delivery, called), { prefetch }));
    // A local call waits for its place, and is not begun after its time limit.
    const places = placesOf(name, prefetch);
    this.calls.mount(queue, {
      step,
      take: (call, timeoutMs, joined) =>
        places.within(timeoutMs, () => this.take({ ...call, isLocal: true }, step, joined)),
    });
  }

  /** Every error but a lost claim becomes an answer. @throws ClaimLost */
  private async take(call: Arrived, step: MountedStep, joined?: Joined): Promise<Verdict> {
    const point = call.phase === 'do' ? failpoints.doCommitted : failpoints.undoCommitted;
    try {
      const verdict = await failpoint(point, () => this.handle(call, step, joined));
      if (verdict.verdict === 'illegal') return await this.violations.refuse(call, step.contract, verdict.reason ?? '');
      if (call.phase === 'do' && verdict.verdict === 'ok') await this.runs.afterDo(call, step, verdict.result);
      // guard: saga.fence-done
      if (call.phase === 'fence' && verdict.isDone) await this.runs.afterFence(call, step, verdict.result);
      return verdict;
    } catch (error) {
      if (error instanceof ClaimLost) throw error;
      return this.verdictOf(error, call, step);
    }
  }

  @TracedCall
  private handle(call: Arrived, step: MountedStep, joined?: Joined): Promise<Verdict> {
    return this.runs.run(call, step, joined);
  }

  private async verdictOf(error: unknown, call: Arrived, { contract }: MountedStep): Promise<Verdict> {
    // A fence runs @Done only, of a pivot that has committed. An error of it says nothing about the pivot.
    const isFence = call.phase === 'fence';
    if (isDoneInPart(error) && !isFence) return this.violations.recordBroken(call, contract, error);
    const reason = cut(textOf(error));
    // A retry has the same arguments, so it cannot succeed.
    if (error instanceof Misfit && !isFence) return { verdict: 'illegal', reason };
    if (isBrokerUnavailable(error) || (await this.database.isAway(error))) return { verdict: 'away', reason };
    // A locked row or a process without a free place is busy, so the call comes again.
    if (isLockWait(error) || error instanceof NoFreePlace) return { verdict: 'away', reason, isBusy: true };
    this.logger.error(`${call.phase} of ${contract.name} failed in ${call.gid}, answered: ${reason}`);
    return { verdict: 'failed', reason };
  }
}
