import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { HttpStub } from './http-stub.js';

export interface TargetCall {
  readonly path: string;
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one call. `nth` counts the calls of the same event on the same path, from 0. */
export type Behaviour = (response: ServerResponse, about: { nth: number; request: IncomingMessage }) => void;

const OK: Behaviour = (response) => response.writeHead(204).end();

/** A merchant's server. Each path is a target of its own. `behave` sets its answers. */
export class Target extends HttpStub {
  readonly calls: TargetCall[] = [];
  private readonly behaviours = new Map<string, Behaviour>();

  static async start(): Promise<Target> {
    const target = new Target();
    await target.up();
    return target;
  }

  url(path = '/'): string {
    return `http://${this.host}${path}`;
  }

  behave(path: string, behaviour: Behaviour): string {
    this.behaviours.set(path, behaviour);
    return this.url(path);
  }

  /** The calls about one event. */
  of(id: string): TargetCall[] {
    return this.calls.filter((call) => call.id === id);
  }

  close(): Promise<void> {
    return this.down();
  }

  protected answer(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const [path, id] = [request.url!, String(request.headers['webhook-id'])];
    const nth = this.calls.filter((call) => call.path === path && call.id === id).length;
    this.calls.push({ path, id, headers: request.headers, body });
    (this.behaviours.get(path) ?? OK)(response, { nth, request });
  }
}
