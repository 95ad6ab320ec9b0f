import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpStub } from './http-stub.js';

export interface Received {
  readonly path: string;
  readonly type: string | undefined;
  readonly body: Record<string, unknown>;
  readonly answered: number | 'hang';
}

/** The receiver of alerts. It can be down, slow or wrong. */
export class AlertSink extends HttpStub {
  readonly received: Received[] = [];
  /** The status of an answer, by the subject of the alert and the number of alerts about it before. `hang`: no answer. */
  reply: (subject: unknown, nth: number) => number | 'hang' = () => 204;

  get url(): string {
    return `http://${this.host}/alerts`;
  }

  /** The alerts about one parked row. */
  about(subject: string): Received[] {
    return this.received.filter(({ body }) => body.subject === subject);
  }

  protected answer({ url, headers }: IncomingMessage, content: Buffer, response: ServerResponse): void {
    const body = JSON.parse(content.toString());
    const answered = this.reply(body.subject, this.about(body.subject).length);
    this.received.push({ path: url!, type: headers['content-type'], body, answered });
    if (answered === 'hang') return;
    response.writeHead(answered, answered === 302 ? { location: '/elsewhere' } : {}).end();
  }
}
