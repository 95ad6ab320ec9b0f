import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly path: string;
  readonly type: string | undefined;
  readonly body: Record<string, unknown>;
  readonly answered: number | 'hang';
}

/** Where alerts are posted to. It can be down, slow or wrong. */
export class AlertSink {
  readonly received: Received[] = [];
  /** How a call is answered, by what it is about and how many came before it. `hang`: not at all. */
  answer: (subject: unknown, nth: number) => number | 'hang' = () => 204;
  private server: Server | undefined;
  private port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.port}/alerts`;
  }

  /** On any free port the first time, on the same one after that. */
  async up(): Promise<void> {
    const server = createServer(async (request, response) => {
      const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
      const answered = this.answer(body.subject, this.about(body.subject).length);
      this.received.push({ path: request.url!, type: request.headers['content-type'], body, answered });
      this.reply(response, answered);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  async down(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    if (!server) return;
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }

  /** What came in about one parked row. */
  about(subject: string): Received[] {
    return this.received.filter(({ body }) => body.subject === subject);
  }

  private reply(response: ServerResponse, answer: number | 'hang'): void {
    if (answer === 'hang') return;
    response.writeHead(answer, answer === 302 ? { location: '/elsewhere' } : {}).end();
  }
}
