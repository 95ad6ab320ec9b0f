import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { type Caller, RemoteCalls } from '../core/broker/remote-calls.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { type Answer, answerBody, type Call, type CallDetails, type Verdict } from './call-messages.js';
import { SCHEME } from './failpoints.js';
import { OpenTries } from './open-tries.js';
import type { OwnCall, OwnParticipant } from './own-participant.js';
import { answerQueueOf, callQueueOf, secondQueueOf } from './participant-contract.js';
import type { Branch } from './tcc-tables.js';

const CALL_TYPE = 'dtx.tcc-call.v1';
const ANSWER_TYPE = 'dtx.tcc-answer.v1';
/** How long the consumer count of a second-phase queue is trusted. A refresh delays no call. */
const CONSUMERS_TRUSTED_MS = 5_000;
const CONSUMERS_LIMIT_MS = 500;
/** A second phase without an answer checks the consumers of its queue after this part of its time limit. */
const RECHECK_PARTS = 4;

/**
 * Calls participants over RabbitMQ and waits for the answers on a queue of this process. A participant in this process
 * is called directly. Calls are not durable. If a call, an answer or this process is lost, the initiator's rows drive a
 * repeat.
 */
@Injectable()
export class Calls implements OnModuleInit {
  private readonly local = new Map<string, OwnParticipant>();
  /** By second-phase queue: whether a participant consumes it, and when that was seen. */
  private readonly secondQueues = new Map<string, { isConsumed: boolean; atMs: number }>();
  private readonly tries = new OpenTries(() => this.isUp);
  private readonly remote: RemoteCalls<Answer>;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {
    this.remote = new RemoteCalls(broker, {
      scheme: SCHEME,
      callType: CALL_TYPE,
      answerType: ANSWER_TYPE,
      answerQueue: answerQueueOf(core.app, randomUUID()),
      read: (json) => answerBody.safeParse(json).data,
    });
  }

  /** The consumer ends with the connection, after every component that may still wait for an answer. */
  onModuleInit(): void {
    this.broker.onLost(() => this.tries.lost());
    this.remote.listen();
  }

  /** Whether calls can be sent and answers received. */
  get isUp(): boolean {
    return this.remote.isUp;
  }

  /** Waits up to `limitMs`, since a new connection needs a moment. */
  untilUp(limitMs: number): Promise<void> {
    return this.remote.untilUp(limitMs);
  }

  /** Registers a participant that lives in this process. */
  mount(queue: string, participant: OwnParticipant): void {
    this.local.set(queue, participant);
  }

  private own({ participant: name, version }: Branch): OwnParticipant | undefined {
    return this.local.get(callQueueOf({ name, version }));
  }

  /** The call of the first branch whose participant lives in this process. Only one branch joins a commit. */
  firstOwn(branches: readonly Branch[], about: CallDetails): OwnCall | undefined {
    for (const branch of branches) {
      const participant = this.own(branch);
      if (participant) return { participant, call: this.callOf(branch, about), name: branch.participant };
    }
    return undefined;
  }

  private callOf({ branch, args }: Branch, about: CallDetails): Call {
    const { gid, incarnation, phase, reason, decidedAt } = about;
    // Not spread: this runs for each call.
    return {
      callId: randomUUID(),
      gid,
      branch,
      initiator: this.core.app,
      incarnation,
      phase,
      args,
      reason,
      decidedAt,
      takesSeveral: true,
    };
  }

  /**
   * Makes one call and resolves to its answer.
   * @throws OutcomeUnknown without a valid answer within `timeoutMs`
   */
  async call(branch: Branch, about: CallDetails, timeoutMs: number): Promise<Verdict> {
    const call = this.callOf(branch, about);
    const own = this.own(branch);
    const send = (answered: (answer: Verdict) => void) =>
      own ? own.take(call, timeoutMs).then(answered) : this.sendTo(branch, call, timeoutMs);
    return this.remote.ask(call.callId, timeoutMs, send).finally(() => this.tries.end(call.callId));
  }

  /**
   * Whether an instance consumes a queue of the participant. Without its database it consumes only second phases. A
   * missing queue is not created.
   */
  async hasConsumer(branch: Branch): Promise<boolean> {
    const participant = { name: branch.participant, version: branch.version };
    if (this.own(branch)) return true;
    for (const queue of [callQueueOf(participant), secondQueueOf(participant)])
      if (((await this.remote.look(queue))?.consumerCount ?? 0) > 0) return true;
    return false;
  }

  /** Sends an answer to the caller. If the initiator has died, the answer is lost and recovery repeats the call. */
  answer(to: Caller, answer: Answer): Promise<void> {
    return this.remote.answer(to, answer);
  }

  private async sendTo({ participant: name, version }: Branch, call: Call, timeoutMs: number): Promise<void> {
    const endsAt = performance.now() + timeoutMs;
    const leftMs = () => Math.max(1, endsAt - performance.now());
    const first = callQueueOf({ name, version });
    const second = secondQueueOf({ name, version });
    const sendFirst = async () => {
      await this.remote.mustExist(first);
      return this.remote.send(first, call, leftMs());
    };
    // guard: tcc.try-again
    if (call.phase === 'try') return this.tries.run(call.callId, sendFirst);
    if (!(await this.isConsumed(second))) return sendFirst();
    await this.remote.send(second, call, leftMs());
    // If its consumer is gone, an instance of the version before may have taken over. The repeat is safe: the barrier
    // makes the participant idempotent.
    this.remote.again(call.callId, timeoutMs / RECHECK_PARTS, async () => {
      if (!(await this.inspectQueue(second))) await this.remote.send(first, call, leftMs());
    });
  }

  /**
   * Whether a participant consumes its second-phase queue. Measured, since the version before does not, during a
   * deployment or after a rollback of it. Without a measurement the other queue is always right.
   */
  private async isConsumed(queue: string): Promise<boolean> {
    const known = this.secondQueues.get(queue);
    if (!known) return Promise.race([sleep(CONSUMERS_LIMIT_MS, false, { ref: false }), this.inspectQueue(queue)]);
    if (performance.now() - known.atMs > CONSUMERS_TRUSTED_MS) {
      known.atMs = performance.now();
      void this.inspectQueue(queue);
    }
    return known.isConsumed;
  }

  private async inspectQueue(queue: string): Promise<boolean> {
    const found = await this.remote.look(queue).catch(() => null);
    const isConsumed = found !== null && found.consumerCount > 0;
    this.secondQueues.set(queue, { isConsumed, atMs: performance.now() });
    return isConsumed;
  }
}
