import { type ChannelModel, connect } from 'amqplib';
import { management } from '../../../tools/src/servers/broker-api.js';
import type { Sandbox } from '../../fixtures/sandbox.js';

/** Does what an administrator does to the broker of a sandbox. */
export class Administrator {
  private constructor(
    private readonly sandbox: Sandbox,
    private readonly connection: ChannelModel,
  ) {}

  static async of(sandbox: Sandbox): Promise<Administrator> {
    return new Administrator(sandbox, await connect(sandbox.rabbitmq));
  }

  /** An account with rights on queues of these patterns. Returns the sandbox's URL with it. */
  async account(user: string, password: string, rights: { configure: string; write: string; read: string }) {
    const path = encodeURIComponent(user);
    await management(this.sandbox.management, 'PUT', `/users/${path}`, { password, tags: '' });
    await this.permit(user, rights);
    const url = new URL(this.sandbox.rabbitmq);
    return `amqp://${path}:${encodeURIComponent(password)}@${url.host}${url.pathname}`;
  }

  async permit(user: string, rights: { configure: string; write: string; read: string }): Promise<void> {
    const path = `${encodeURIComponent(this.sandbox.vhost)}/${encodeURIComponent(user)}`;
    await management(this.sandbox.management, 'PUT', `/permissions/${path}`, rights);
  }

  /** Declares a queue as another version would have: with other arguments than the library gives it. */
  async declare(queue: string, type: 'classic' | 'quorum'): Promise<void> {
    const channel = await this.connection.createChannel();
    await channel.assertQueue(queue, { durable: true, arguments: type === 'quorum' ? { 'x-queue-type': type } : {} });
    await channel.close();
  }

  async remove(queue: string): Promise<void> {
    const channel = await this.connection.createChannel();
    await channel.deleteQueue(queue);
    await channel.close();
  }

  async waiting(queue: string): Promise<number> {
    const channel = await this.connection.createChannel();
    const { messageCount } = await channel.checkQueue(queue);
    await channel.close();
    return messageCount;
  }

  async close(users: readonly string[] = []): Promise<void> {
    for (const user of users) await management(this.sandbox.management, 'DELETE', `/users/${encodeURIComponent(user)}`);
    await this.connection.close();
  }
}
