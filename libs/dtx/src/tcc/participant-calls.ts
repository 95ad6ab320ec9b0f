import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import type { ConsumedQueue, Delivery } from '../core/broker/consumed-queue.js';
import { DtxError, OutcomeUnknown } from '../core/errors/errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { type Answer, answerBody, type Call, type CallDetails, parseJson, type Verdict } from './call-messages.js';
import { SCHEME } from './failpoints.js';
import { OpenTries } from './open-tries.js';
import type { OwnCall, OwnParticipant } from './own-participant.js';
import { answerQueueOf, callQueueOf, secondQueueOf } from './participant-contract.js';
import type { Branch } from './tcc-tables.js';

const CALL_TYPE = 'dtx.tcc-call.v1';
const ANSWER_TYPE = 'dtx.tcc-answer.v1';
const ANSWERS_PREFETCH = 500;
const POLL_MS = 10;
/** How long the consumer count of a second-phase queue is trusted. A refresh delays no call. */
const CONSUMERS_TRUSTED_MS = 5_000;
const CONSUMERS_LIMIT_MS = 500;
/** A second phase without an answer checks the consumers of its queue after this part of its time limit. */
const RECHECK_PARTS = 4;

/** A call without its answer. */
interface Waiting {
  readonly answered: (answer: Answer) => void;
  readonly failed: (error: unknown) => void;
  recheck: NodeJS.Timeout | undefined;
}

/**
 * Calls participants over RabbitMQ and waits for the answers on a queue of this process. A participant in this process
 * is called directly. Calls are not durable. If a call, an answer or this process is lost, the initiator's rows drive a
 * repeat.
 */
@Injectable()
export class Calls implements OnModuleInit {
  private readonly waiting = new Map<string, Waiting>();
  private readonly local = new Map<string, OwnParticipant>();
  /** By second-phase queue: whether a participant consumes it, and when that was seen. */
  private readonly secondQueues = new Map<string, { isConsumed: boolean; atMs: number }>();
  private readonly looks = new Map<string, Promise<{ readonly consumerCount: number } | null>>();
  /** Queues that were seen once. */
  private readonly existing = new Set<string>();
  private readonly tries = new OpenTries(() => this.isUp);
  private readonly answerQueue: string;
  private answers: ConsumedQueue | undefined;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {
    this.answerQueue = answerQueueOf(core.app, randomUUID());
  }

  /** The consumer ends with the connection, after every component that may still wait for an answer. */
  onModuleInit(): void {
    const prefetch = ANSWERS_PREFETCH;
    this.broker.onLost(() => this.tries.lost());
    this.answers = this.broker.consume(this.answerQueue, (one) => this.receive(one), { prefetch, pausing: 'never' });
  }

  /** Whether calls can be sent and answers received. */
  get isUp(): boolean {
    return this.broker.isUp && this.answers?.isAttached === true;
  }

  /** Waits up to `limitMs`, since a new connection needs a moment. */
  async untilUp(limitMs: number): Promise<void> {
    for (const endsAt = performance.now() + limitMs; !this.isUp && performance.now() < endsAt; ) await sleep(POLL_MS);
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

  private callOf(branch: Branch, about: CallDetails): Call {
    return { ...about, initiator: this.core.app, callId: randomUUID(), branch: branch.branch, args: branch.args };
  }

  /**
   * Makes one call and resolves to its answer.
   * @throws OutcomeUnknown without a valid answer within `timeoutMs`
   */
  async call(branch: Branch, about: CallDetails, timeoutMs: number): Promise<Verdict> {
    const call = this.callOf(branch, about);
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        clearTimeout(waiting.recheck);
        this.waiting.delete(call.callId);
        this.tries.end(call.callId);
        settle();
      };
      const late = () => reject(new OutcomeUnknown(`no answer within ${Math.round(timeoutMs)} ms`));
      const timer = setTimeout(() => end(late), timeoutMs);
      const answered = (answer: Verdict) => end(() => resolve(answer));
      const failed = (error: unknown) => end(() => reject(error));
      const waiting: Waiting = { answered, failed, recheck: undefined };
      this.waiting.set(call.callId, waiting);
      const own = this.own(branch);
      const sent = own ? own.take(call, timeoutMs).then(answered) : this.sendTo(branch, call, timeoutMs);
      sent.catch(failed);
    });
  }

  /**
   * Whether an instance consumes a queue of the participant. Without its database it consumes only second phases. A
   * missing queue is not created.
   */
  async hasConsumer(branch: Branch): Promise<boolean> {
    const participant = { name: branch.participant, version: branch.version };
    if (this.own(branch)) return true;
    for (const queue of [callQueueOf(participant), secondQueueOf(participant)])
      if (((await this.look(queue))?.consumerCount ?? 0) > 0) return true;
    return false;
  }

  /** Sends an answer to the caller. If the initiator has died, the answer is lost and recovery repeats the call. */
  async answer(replyTo: string, answer: Answer): Promise<void> {
    const envelope = { messageId: answer.callId, type: ANSWER_TYPE, gid: answer.callId, scheme: SCHEME };
    const body = Buffer.from(JSON.stringify(answer));
    await this.broker.publisher.publish(replyTo, body, envelope, { persistent: false }).catch(() => {});
  }

  private async sendTo({ participant: name, version }: Branch, call: Call, timeoutMs: number): Promise<void> {
    const endsAt = performance.now() + timeoutMs;
    const leftMs = () => Math.max(1, endsAt - performance.now());
    const first = callQueueOf({ name, version });
    const second = secondQueueOf({ name, version });
    const sendFirst = async () => {
      await this.mustExist(first);
      return this.send(first, call, leftMs());
    };
    // guard: tcc.try-again
    if (call.phase === 'try') return this.tries.run(call.callId, sendFirst);
    if (!(await this.isConsumed(second))) return sendFirst();
    await this.send(second, call, leftMs());
    const waiting = this.waiting.get(call.callId);
    if (!waiting) return;
    // If its consumer is gone, an instance of the version before may have taken over. The repeat is safe: the barrier
    // makes the participant idempotent.
    const recheck = async () => {
      if (!(await this.inspectQueue(second))) await this.send(first, call, leftMs());
    };
    waiting.recheck = setTimeout(() => void recheck().catch(waiting.failed), timeoutMs / RECHECK_PARTS).unref();
  }

  /**
   * A participant creates its queue at its first start. Without that the name is most likely wrong, so a call neither
   * creates the queue nor waits for an answer.
   * @throws DtxError
   */
  private async mustExist(queue: string): Promise<void> {
    if (this.existing.has(queue)) return;
    // Without a look the publish finds out. Broker errors are its errors.
    const found = await this.look(queue).catch(() => undefined);
    if (found === null)
      throw new DtxError(`queue ${queue} does not exist: start its participant, or correct the name of the contract`);
    if (found) this.existing.add(queue);
  }

  /** Looks at a queue. Concurrent callers share the answer. Null if it does not exist. */
  private look(queue: string): Promise<{ readonly consumerCount: number } | null> {
    let look = this.looks.get(queue);
    if (!look) {
      look = this.broker.publisher.find(queue).finally(() => this.looks.delete(queue));
      this.looks.set(queue, look);
    }
    return look;
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
    const found = await this.look(queue).catch(() => null);
    const isConsumed = found !== null && found.consumerCount > 0;
    this.secondQueues.set(queue, { isConsumed, atMs: performance.now() });
    return isConsumed;
  }

  private send(queue: string, call: Call, timeoutMs: number): Promise<void> {
    const envelope = {
      messageId: call.callId,
      type: CALL_TYPE,
      gid: call.gid,
      scheme: SCHEME,
      replyTo: this.answerQueue,
      traceparent: currentTraceparent() ?? undefined,
    };
    const delivery = { persistent: false, expiresMs: timeoutMs };
    return this.broker.publisher.publish(queue, Buffer.from(JSON.stringify(call)), envelope, delivery);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const answer = answerBody.safeParse(parseJson(delivery.message.content));
    if (answer.success) this.waiting.get(answer.data.callId)?.answered(answer.data);
    delivery.ack();
  }
}
