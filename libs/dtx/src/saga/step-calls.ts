import { randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { type Caller, RemoteCalls } from '../core/broker/remote-calls.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { type Answer, answerBody, answerQueueOf, type Call, callQueueOf, type Verdict } from './call-messages.js';
import type { Joined } from './run-step.js';
import { SCHEME } from './scheme-name.js';
import type { StepContract } from './step-contract.js';
import type { MountedStep } from './step-discovery.js';

/** A call without what the transport adds. */
export type CallDetails = Omit<Call, 'callId' | 'initiator' | 'takesSeveral'>;

/** A step that lives in this process. */
export interface LocalStep {
  readonly step: MountedStep;
  /** @throws ClaimLost, and OutcomeUnknown when no place becomes free within the time limit */
  take(call: Call, timeoutMs: number, joined?: Joined): Promise<Verdict>;
}

/** Calls steps: over RabbitMQ, or directly if the step lives in this process. */
@Injectable()
export class StepCalls implements OnModuleInit {
  private readonly local = new Map<string, LocalStep>();
  private readonly remote: RemoteCalls<Answer>;

  constructor(
    broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {
    this.remote = new RemoteCalls(broker, {
      scheme: SCHEME,
      callType: 'dtx.saga-call.v1',
      answerType: 'dtx.saga-answer.v1',
      answerQueue: answerQueueOf(core.app, randomUUID()),
      read: (json) => answerBody.safeParse(json).data,
    });
  }

  onModuleInit(): void {
    this.remote.listen();
  }

  get isUp(): boolean {
    return this.remote.isUp;
  }

  mount(queue: string, step: LocalStep): void {
    this.local.set(queue, step);
  }

  localOf(step: StepContract): LocalStep | undefined {
    return this.local.get(callQueueOf(step));
  }

  /**
   * Makes one call and resolves to its answer.
   * @param joined the final mark, for a local step
   * @throws OutcomeUnknown without a valid answer within `timeoutMs`; ClaimLost
   */
  call(step: StepContract, about: CallDetails, timeoutMs: number, joined?: Joined): Promise<Verdict> {
    const queue = callQueueOf(step);
    const local = this.local.get(queue);
    const call = this.callOf(about);
    return this.remote.ask(call.callId, timeoutMs, async (answered) => {
      if (local) return answered(await local.take(call, timeoutMs, joined));
      await this.remote.mustExist(queue);
      await this.remote.send(queue, call, timeoutMs);
    });
  }

  callOf(about: CallDetails): Call {
    const { gid, incarnation, saga, kind, phase, args, reason, since } = about;
    // Not spread: this runs for each call.
    return {
      callId: randomUUID(),
      gid,
      initiator: this.core.app,
      incarnation,
      saga,
      kind,
      phase,
      args,
      reason,
      since,
      takesSeveral: true,
    };
  }

  answer(to: Caller, answer: Answer): Promise<void> {
    return this.remote.answer(to, answer);
  }
}
