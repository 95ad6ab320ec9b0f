// Calls of other apps with amqplib alone: a transient call, its confirmed answer, then the ack.
import { randomUUID } from 'node:crypto';
import type { Purchase } from '../naive/shop.js';
import { type Broker, exit } from './broker.js';

const ANSWERS_PREFETCH = 500;

interface Call {
  readonly callId: string;
  readonly purchase: Purchase;
}

export class Calls {
  /** Calls without an answer. */
  private readonly open = new Map<string, () => void>();

  private constructor(
    private readonly broker: Broker,
    private readonly answers: string,
  ) {}

  /** Consumes the answers to this process. */
  static async open(broker: Broker): Promise<Calls> {
    const calls = new Calls(broker, await broker.declareOwn());
    await broker.consume(calls.answers, ANSWERS_PREFETCH, (answer: Pick<Call, 'callId'>) => calls.take(answer));
    return calls;
  }

  /** Resolves with the answer. The confirm of the call is not waited for. */
  call(queue: string, purchase: Purchase): Promise<void> {
    const call: Call = { callId: randomUUID(), purchase };
    return new Promise((resolve) => {
      this.open.set(call.callId, resolve);
      this.broker.publish(queue, call, { persistent: false, replyTo: this.answers }).catch(exit);
    });
  }

  /** Consumes the calls of a queue. */
  serve(queue: string, prefetch: number, work: (purchase: Purchase) => Promise<void>): Promise<void> {
    return this.broker.consume(queue, prefetch, async ({ callId, purchase }: Call, replyTo) => {
      await work(purchase);
      await this.broker.publish(replyTo, { callId, verdict: 'ok' }, { persistent: false });
    });
  }

  private async take({ callId }: Pick<Call, 'callId'>): Promise<void> {
    this.open.get(callId)?.();
    this.open.delete(callId);
  }
}
