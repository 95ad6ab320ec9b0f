import { Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../core/async/periodic-task.js';
import { Broker } from '../core/broker/broker.service.js';
import { replicatedQueues } from '../core/broker/message-contract.js';
import { PRECONDITION_FAILED, QueueRefused } from '../core/broker/refusal.js';
import { Conditions } from '../core/dependency-health-registry.js';
import { textOf } from '../core/errors/errors.js';
import { libraryLogger } from '../core/library-logger.js';

const LOOK_EVERY_MS = 5_000;

/**
 * Finds consumer queues that exist as another kind, such as classic queues. No half message ever reaches such a queue.
 * Readiness names it from the start on, and each `HalfMessages.send` to it fails before its local transaction. Queues
 * that do not exist yet are not created here, because their consumers may belong to other apps.
 */
@Injectable()
export class ConsumerQueues implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('half messages');
  private readonly looks: Periodic;
  /** The reason of the broker, by queue. */
  private readonly wrong = new Map<string, string>();

  constructor(
    private readonly broker: Broker,
    conditions: Conditions,
  ) {
    this.looks = new Periodic(
      LOOK_EVERY_MS,
      () => this.lookAtAll(),
      (error) => this.logger.warn(`cannot look at the consumer queues, retrying: ${textOf(error)}`),
    );
    conditions.register(() => [...this.wrong].map(([queue, reason]) => ({ name: `queue ${queue}`, reason })));
  }

  onModuleInit(): void {
    this.looks.start();
    this.broker.publisher.on('up', () => void this.lookAtAll());
  }

  async onModuleDestroy(): Promise<void> {
    await this.looks.stop();
  }

  /**
   * Refuses a message that can never be delivered. A queue that is unavailable now gets its message later.
   * @throws QueueRefused if a queue exists as another kind. Nothing happened.
   */
  async require(queues: readonly string[]): Promise<void> {
    const looks = queues.map((queue) => this.broker.publisher.ensure(queue, 'replicated'));
    for (const look of await Promise.allSettled(looks))
      if (look.status === 'rejected' && isOfAnotherKind(look.reason)) throw look.reason;
  }

  private async lookAtAll(): Promise<void> {
    if (this.broker.publisher.isUp) await Promise.all(replicatedQueues().map((queue) => this.look(queue)));
  }

  /** An unavailable queue keeps its last result. */
  private async look(queue: string): Promise<void> {
    const { publisher } = this.broker;
    const name = publisher.nameAtBroker(queue, 'replicated');
    try {
      if (await publisher.find(queue, 'replicated')) await publisher.inspect(queue, 'replicated');
      if (this.wrong.delete(name)) this.logger.log(`queue ${name} can be used again`);
    } catch (error) {
      if (!isOfAnotherKind(error)) return;
      if (!this.wrong.has(name))
        this.logger.error(`half messages to queue ${name} are refused: ${textOf(error)}; delete the queue`);
      this.wrong.set(name, textOf(error));
    }
  }
}

function isOfAnotherKind(error: unknown): boolean {
  return error instanceof QueueRefused && error.code === PRECONDITION_FAILED;
}
