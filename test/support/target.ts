import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TargetCall {
  readonly path: string;
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one call, however it likes; `nth` counts the calls of the same event on the same path, from 0. */
export type Behaviour = (response: ServerResponse, about: { nth: number; request: IncomingMessage }) => void;

const OK: Behaviour = (response) => response.writeHead(204).end();

/** A merchant's server. Paths are targets of their own in what they answer; `behave` sets how. */
export class Target {
  readonly calls: TargetCall[] = [];
  private readonly behaviours = new Map<string, Behaviour>();
  private port = 0;
  private server: Server | undefined;

  static async start(): Promise<Target> {
    const target = new Target();
    await target.up();
    return target;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  behave(path: string, behaviour: Behaviour): string {
    this.behaviours.set(path, behaviour);
    return this.url(path);
  }

  /** What came in about one event. */
  of(id: string): TargetCall[] {
    return this.calls.filter((call) => call.id === id);
  }

  async close(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((closed) => this.server?.close(closed));
  }

  private async up(): Promise<void> {
    const server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      const [path, id] = [request.url!, String(request.headers['webhook-id'])];
      const nth = this.calls.filter((call) => call.path === path && call.id === id).length;
      this.calls.push({ path, id, headers: request.headers, body });
      (this.behaviours.get(path) ?? OK)(response, { nth, request });
    });
    server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.server = server;
    this.port = (server.address() as AddressInfo).port;
  }
}
