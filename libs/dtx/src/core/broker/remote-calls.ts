import { setTimeout as sleep } from 'node:timers/promises';
import { DtxError, OutcomeUnknown } from '../errors/errors.js';
import { currentTraceparent } from '../trace-and-gid-context.js';
import type { Broker } from './broker.service.js';
import type { ConsumedQueue, Delivery } from './consumed-queue.js';
import { answersIn, GatheredAnswers } from './gathered-answers.js';

const ANSWERS_PREFETCH = 500;
const POLL_MS = 10;

/** What a scheme calls and how it reads the answers. */
export interface CallKind<Answer> {
  readonly scheme: string;
  /** The type of a call and of an answer, for the envelope. */
  readonly callType: string;
  readonly answerType: string;
  /** The queue of answers of this process. */
  readonly answerQueue: string;
  /** Undefined for a message that is not an answer. */
  readonly read: (json: unknown) => Answer | undefined;
}

/** The part of a call that the transport needs. */
export interface Addressed {
  readonly callId: string;
  readonly gid: string;
  /** The caller reads several answers in one message. Missing in calls of the version before, which does not. */
  readonly takesSeveral?: boolean | undefined;
}

/** Where a call is answered. */
export interface Caller {
  readonly queue: string;
  readonly takesSeveral: boolean;
}

/** A call without its answer. */
interface Open<Answer> {
  readonly answered: (answer: Omit<Answer, 'callId'>) => void;
  readonly failed: (error: unknown) => void;
  again: NodeJS.Timeout | undefined;
}

/**
 * Calls over RabbitMQ with an answer on a queue of this process. Calls are not durable. If a call, an answer or this
 * process is lost, the rows of the caller drive a repeat, so the called side must be idempotent.
 */
export class RemoteCalls<Answer extends { readonly callId: string }> {
  private readonly open = new Map<string, Open<Answer>>();
  private readonly looks = new Map<string, Promise<{ readonly consumerCount: number } | null>>();
  /** Queues that were seen once. */
  private readonly existing = new Set<string>();
  private answers: ConsumedQueue | undefined;
  private readonly gathered = new GatheredAnswers((to, id, body) => this.sendAnswers(to, id, body));

  constructor(
    private readonly broker: Broker,
    private readonly kind: CallKind<Answer>,
  ) {}

  /** Consumes the answers. The consumer ends with the connection, after every component that may still wait. */
  listen(): void {
    const options = { prefetch: ANSWERS_PREFETCH, pausing: 'never' } as const;
    this.answers = this.broker.consume(this.kind.answerQueue, (one) => this.receive(one), options);
  }

  /** Whether calls can be sent and answers received. */
  get isUp(): boolean {
    return this.broker.isUp && this.answers?.isAttached === true;
  }

  /** Waits up to `limitMs`, since a new connection needs a moment. */
  async untilUp(limitMs: number): Promise<void> {
    for (const endsAt = performance.now() + limitMs; !this.isUp && performance.now() < endsAt; ) await sleep(POLL_MS);
  }

  /** Runs `again` after `waitMs` if the call is still open: without an answer, within its time limit. */
  again(callId: string, waitMs: number, again: () => Promise<void>): void {
    const call = this.open.get(callId);
    if (call) call.again = setTimeout(() => void again().catch(call.failed), waitMs).unref();
  }

  /**
   * Makes a call and resolves to its answer.
   * @param send sends the call. A called side in this process gives its answer to `answered` instead
   * @throws OutcomeUnknown without an answer within `timeoutMs`
   * @throws the error of `send`
   */
  ask(
    callId: string,
    timeoutMs: number,
    send: (answered: (answer: Omit<Answer, 'callId'>) => void) => Promise<unknown>,
  ): Promise<Omit<Answer, 'callId'>> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        clearTimeout(call.again);
        this.open.delete(callId);
        settle();
      };
      const late = () => reject(new OutcomeUnknown(`no answer within ${Math.round(timeoutMs)} ms`));
      const timer = setTimeout(() => end(late), timeoutMs);
      const call: Open<Answer> = {
        answered: (answer) => end(() => resolve(answer)),
        failed: (error) => end(() => reject(error)),
        again: undefined,
      };
      this.open.set(callId, call);
      send(call.answered).catch(call.failed);
    });
  }

  /** Sends a call, which expires with its time limit. */
  send(queue: string, call: Addressed, timeoutMs: number): Promise<void> {
    const envelope = {
      messageId: call.callId,
      type: this.kind.callType,
      gid: call.gid,
      scheme: this.kind.scheme,
      replyTo: this.kind.answerQueue,
      traceparent: currentTraceparent() ?? undefined,
    };
    const delivery = { persistent: false, expiresMs: timeoutMs };
    return this.broker.publisher.publish(queue, Buffer.from(JSON.stringify(call)), envelope, delivery);
  }

  /** Sends an answer to the caller. If the caller has died, the answer is lost and recovery repeats the call. */
  async answer({ queue, takesSeveral }: Caller, answer: Answer): Promise<void> {
    const { callId } = answer;
    const text = JSON.stringify(answer);
    // guard: calls.several-answers
    const sent = takesSeveral ? this.gathered.add(queue, callId, text) : this.sendAnswers(queue, callId, text);
    await sent.catch(() => {});
  }

  private sendAnswers(queue: string, id: string, body: string): Promise<void> {
    const { answerType: type, scheme } = this.kind;
    const envelope = { messageId: id, type, gid: id, scheme };
    return this.broker.publisher.publish(queue, Buffer.from(body), envelope, { persistent: false });
  }

  /**
   * The called side creates its queue at its first start. Without that the name is most likely wrong, so a call neither
   * creates the queue nor waits for an answer.
   * @throws DtxError
   */
  async mustExist(queue: string): Promise<void> {
    if (this.existing.has(queue)) return;
    // Without a look the publish finds out. Broker errors are its errors.
    const found = await this.look(queue).catch(() => undefined);
    if (found === null)
      throw new DtxError(
        `queue ${this.broker.publisher.nameAtBroker(queue)} does not exist: start its participant, or correct the name of the contract`,
      );
    if (found) this.existing.add(queue);
  }

  /** Looks at a queue. Concurrent callers share the answer. Null if it does not exist. */
  look(queue: string): Promise<{ readonly consumerCount: number } | null> {
    let look = this.looks.get(queue);
    if (!look) {
      look = this.broker.publisher.find(queue).finally(() => this.looks.delete(queue));
      this.looks.set(queue, look);
    }
    return look;
  }

  private async receive(delivery: Delivery): Promise<void> {
    for (const one of answersIn(parseJson(delivery.message.content))) {
      const answer = this.kind.read(one);
      if (answer) this.open.get(answer.callId)?.answered(answer);
    }
    delivery.ack();
  }
}

/** The JSON of a message body. Undefined if it is not JSON. */
export function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
