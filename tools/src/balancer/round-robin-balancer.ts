// A small HTTP balancer: one port, several instances of one app. Its readiness checks are those of any other balancer.
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../cli/error-text.js';
import type { Say } from '../cli/say-type.js';
import { type Instance, InstanceChecks } from './instance-checks.js';

export interface BalancerPlan {
  /** 0 takes any free port. */
  readonly port: number;
  readonly host?: string;
  /** Base URLs of the instances, such as http://order-1:3000. */
  readonly instances: readonly string[];
  readonly checkEveryMs?: number;
  /** Bound of one readiness check. Without an answer to three in a row an instance gets no new call. */
  readonly checkLimitMs?: number;
  /** Bound of one call. The apps end a call after 30 s, and a long poll may wait that long. */
  readonly answerMs?: number;
  readonly say?: Say;
}

/** Headers that belong to one connection. Node writes its own. */
const OF_CONNECTION = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'proxy-connection'];
const CONNECT_MS = 2_000;
const STOP_MS = 15_000;
const ANSWER_MS = 40_000;
const IDLE_LOOK_MS = 50;

/**
 * Gives each call to the next ready instance. A call is tried at another instance only if the connection to the first one
 * failed, because then no byte of it was sent. A call that was sent and not answered is 502: it may have been carried out,
 * and only its caller can repeat it with the same Idempotency-Key. Without a ready instance the answer is 503 with
 * Retry-After.
 * @example
 *   const balancer = await Balancer.start({ port: 3001, instances: ['http://order-1:3000', 'http://order-2:3000'] });
 */
export class Balancer {
  private next = 0;

  private constructor(
    private readonly server: Server,
    private readonly checks: InstanceChecks,
    private readonly answerMs: number,
  ) {}

  /** Resolves when the port is open and every instance has been asked once. */
  static async start(plan: BalancerPlan): Promise<Balancer> {
    const { port, host = '127.0.0.1', instances, checkEveryMs = 500, checkLimitMs = 2_000, say = () => {} } = plan;
    const checks = new InstanceChecks(instances, { everyMs: checkEveryMs, limitMs: checkLimitMs, say });
    await checks.start();
    const server = createServer();
    const balancer = new Balancer(server, checks, plan.answerMs ?? ANSWER_MS);
    server.on('request', (call, answer) => balancer.pass(call, answer));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
    return balancer;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Closes the port, and waits for the calls in flight within a bound. */
  async stop(): Promise<void> {
    this.checks.stop();
    const closed = new Promise((resolve) => this.server.close(resolve));
    // A connection becomes idle with its last answer, and its caller would keep it open.
    const idle = setInterval(() => this.server.closeIdleConnections(), IDLE_LOOK_MS);
    const late = setTimeout(() => this.server.closeAllConnections(), STOP_MS);
    await closed;
    clearInterval(idle);
    clearTimeout(late);
  }

  /** The ready instances, beginning with the one whose turn it is. */
  private inTurn(): Instance[] {
    const ready = this.checks.ready();
    const first = this.next++ % Math.max(1, ready.length);
    return [...ready.slice(first), ...ready.slice(0, first)];
  }

  private pass(call: IncomingMessage, answer: ServerResponse): void {
    const tries = this.inTurn();
    const another = (): void => {
      const instance = tries.shift();
      if (instance) this.send(call, answer, instance, another);
      else refuse(answer, 503, 'no instance is ready: repeat with the same Idempotency-Key');
    };
    another();
  }

  /** Calls `another` only while nothing of the call has been sent. */
  private send(call: IncomingMessage, answer: ServerResponse, instance: Instance, another: () => void): void {
    let isSent = false;
    const { hostname, port } = new URL(instance.url);
    const onward = request({
      // A connection of its own: an idle connection may close while a call is written to it, and that call is sent.
      agent: false,
      hostname,
      port,
      method: call.method,
      path: call.url,
      headers: onwardHeaders(call),
    });
    const limit = (ms: number, what: string) =>
      setTimeout(() => onward.destroy(new Error(`no ${what} within ${ms} ms`)), ms);
    let timer = limit(CONNECT_MS, 'connection');
    // The body waits for the connection. Without a connection the next instance gets all of it.
    onward.once('socket', (socket) =>
      socket.once('connect', () => {
        isSent = true;
        clearTimeout(timer);
        timer = limit(this.answerMs, 'answer');
        call.pipe(onward);
      }),
    );
    onward.once('close', () => clearTimeout(timer));
    onward.once('response', (back) => {
      answer.writeHead(back.statusCode ?? 502, withoutConnectionHeaders(back));
      back.pipe(answer);
      back.once('error', () => answer.destroy());
    });
    onward.once('error', (error) => {
      if (answer.destroyed) return;
      if (!isSent) {
        this.checks.failed(instance, error);
        another();
      } else if (answer.headersSent) answer.destroy();
      else refuse(answer, 502, `sent to an instance that did not answer: ${messageOf(error)}`);
    });
    answer.once('close', () => onward.destroy()); // the caller has its answer, or has gone
  }
}

function withoutConnectionHeaders({ headers }: IncomingMessage): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name, value]) => value !== undefined && !OF_CONNECTION.includes(name));
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}

/** With the address of the caller, in place of an address that the caller wrote. `Host` stays: answers contain URLs. */
function onwardHeaders(call: IncomingMessage): Record<string, string | string[]> {
  const from = call.socket.remoteAddress ?? '';
  const isChunked = call.headers['transfer-encoding'] !== undefined;
  const body: Record<string, string> = isChunked ? { 'transfer-encoding': 'chunked' } : {};
  return { ...withoutConnectionHeaders(call), ...body, 'x-forwarded-for': from, connection: 'close' };
}

function refuse(answer: ServerResponse, status: number, detail: string): void {
  const again: Record<string, string> = status === 503 ? { 'retry-after': '1' } : {};
  answer.writeHead(status, { 'content-type': 'application/problem+json', ...again });
  answer.end(JSON.stringify({ title: 'Balancer', status, detail }));
}
