import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { z } from 'zod';
import { Broker } from '../core/broker/broker.service.js';
import type { Delivery, QueueConsumer } from '../core/broker/queue-consumer.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { currentTraceparent } from '../core/trace.js';
import { answerQueueOf, callQueueOf, isAnswerQueue, secondQueueOf } from './contract.js';
import { SCHEME } from './failpoints.js';
import type { Branch } from './tcc-tables.js';

const CALL_TYPE = 'dtx.tcc-call.v1';
const ANSWER_TYPE = 'dtx.tcc-answer.v1';
const ANSWERS_PREFETCH = 500;
const LOOK_MS = 10;
/** How long a look at a queue of second phases is believed. No call waits for the next one. */
const LOOK_AGAIN_MS = 5_000;
const LOOK_LIMIT_MS = 500;
/** After this part of its time a second phase without an answer looks whether its queue is still consumed. */
const LOOK_BACK_PARTS = 4;
export const REASON_CHARS_MAX = 1_000;

export const callBody = z.object({
  callId: z.string().max(64),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  branch: z.int().min(0).max(1_000),
  /** Missing in calls of the version before. It ignores both. */
  initiator: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/)
    .optional(),
  incarnation: z
    .string()
    .regex(/^[0-9A-Za-z_]{1,16}$/)
    .optional(),
  phase: z.enum(['try', 'confirm', 'cancel']),
  args: z.unknown(),
  reason: z.string().max(64).optional(),
  decidedAt: z.iso.datetime().optional(),
});
export type Call = z.output<typeof callBody>;
/** What a caller says of a call. The rest is the branch's and this process's own. */
export type About = Omit<Call, 'callId' | 'initiator' | 'branch' | 'args'>;

/**
 * `refused`: a definite no. `failed`: it did not happen this time. `away`: the participant's database is away, which
 * is no attempt. `illegal`: the barrier refused it and raised an alert.
 */
const answerBody = z.object({
  callId: z.string().max(64),
  verdict: z.enum(['ok', 'refused', 'failed', 'away', 'illegal']),
  reason: z.string().max(REASON_CHARS_MAX).optional(),
  /** With `away`: a row that it needs is locked. An initiator of the version before knows `away` only. */
  isBusy: z.boolean().optional(),
});
type Answer = z.output<typeof answerBody>;
export type Verdict = Omit<Answer, 'callId'>;

/** How a participant takes a call in its own process. @throws OutcomeUnknown when it has no place for it in time */
type Take = (call: Call, timeoutMs: number) => Promise<Verdict>;

/**
 * Calls participants over RabbitMQ and waits for their answers, which come to a queue of this very process; one that
 * lives in this process is called directly. Calls need not be durable: the initiator's rows drive the retries, and a
 * call that is lost is an answer that does not come.
 */
@Injectable()
export class Calls implements OnModuleInit {
  private readonly waiting = new Map<string, (answer: Answer) => void>();
  private readonly here = new Map<string, Take>();
  /** Queues of second phases, whether a participant consumes them, and when that was seen. */
  private readonly secondQueues = new Map<string, { isServed: boolean; atMs: number }>();
  private readonly answerQueue: string;
  private answers: QueueConsumer | undefined;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {
    this.answerQueue = answerQueueOf(core.app, randomUUID());
  }

  /** Ends with the connection, after everything that may still wait for an answer. */
  onModuleInit(): void {
    const prefetch = ANSWERS_PREFETCH;
    this.answers = this.broker.consume(this.answerQueue, (delivery) => this.receive(delivery), { prefetch });
  }

  /** Whether a call could be sent and its answer come back. */
  get isUp(): boolean {
    return this.broker.publisher.isUp && this.answers?.isAttached === true;
  }

  /** A connection that was opened just now needs a moment. */
  async untilUp(limitMs: number): Promise<void> {
    for (const endsAt = performance.now() + limitMs; !this.isUp && performance.now() < endsAt; ) await sleep(LOOK_MS);
  }

  /** A participant that lives in this process. */
  mount(queue: string, take: Take): void {
    this.here.set(queue, take);
  }

  /**
   * Makes one call. Whatever is not a clear answer within the time is unknown.
   * @throws OutcomeUnknown
   */
  async call(branch: Branch, about: About, timeoutMs: number): Promise<Verdict> {
    const queue = callQueueOf({ name: branch.participant, version: branch.version });
    const initiator = this.core.app;
    const call: Call = { ...about, initiator, callId: randomUUID(), branch: branch.branch, args: branch.args };
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        this.waiting.delete(call.callId);
        settle();
      };
      const late = new OutcomeUnknown(`no answer within ${Math.round(timeoutMs)} ms`);
      const timer = setTimeout(() => end(() => reject(late)), timeoutMs);
      const answered = (answer: Verdict) => end(() => resolve(answer));
      this.waiting.set(call.callId, answered);
      const here = this.here.get(queue);
      const sent = here ? here(call, timeoutMs).then(answered) : this.sendTo(branch, call, timeoutMs);
      sent.catch((error) => end(() => reject(error)));
    });
  }

  /** Whether anybody is there to answer for a participant. */
  async isThere(branch: Branch): Promise<boolean> {
    const queue = callQueueOf({ name: branch.participant, version: branch.version });
    return this.here.has(queue) || (await this.broker.publisher.inspect(queue)).consumerCount > 0;
  }

  /** Answers whoever called. The initiator may be gone; then nobody needs it, and recovery calls again. */
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
    if (call.phase === 'try' || !(await this.isServed(second))) return this.send(first, call, leftMs());
    await this.send(second, call, leftMs());
    await sleep(timeoutMs / LOOK_BACK_PARTS, undefined, { ref: false });
    // The instance that consumed it is gone, and one of the version before is in its place. The barrier bears a repetition.
    if (this.waiting.has(call.callId) && !(await this.look(second))) await this.send(first, call, leftMs());
  }

  /**
   * Whether a participant consumes its queue of second phases. By evidence, since one of the version before does not: while
   * a deployment is under way, and after it was taken back. Where it cannot be known, the other queue is right in any case.
   */
  private async isServed(queue: string): Promise<boolean> {
    const known = this.secondQueues.get(queue);
    if (!known) return Promise.race([sleep(LOOK_LIMIT_MS, false, { ref: false }), this.look(queue)]);
    if (performance.now() - known.atMs > LOOK_AGAIN_MS) {
      known.atMs = performance.now();
      void this.look(queue);
    }
    return known.isServed;
  }

  private async look(queue: string): Promise<boolean> {
    const found = await this.broker.publisher.find(queue).catch(() => null);
    const isServed = found !== null && found.consumerCount > 0;
    this.secondQueues.set(queue, { isServed, atMs: performance.now() });
    return isServed;
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
    if (answer.success) this.waiting.get(answer.data.callId)?.(answer.data);
    delivery.ack();
  }
}

/** The app whose answer queue this is: who called, also when a version that does not name itself has made the call. */
export function callerOf(replyTo: string | undefined): string | undefined {
  return replyTo && isAnswerQueue(replyTo) ? replyTo.split('.')[1] : undefined;
}

export function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
