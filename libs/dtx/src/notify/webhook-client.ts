import http from 'node:http';
import https from 'node:https';
import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { BODY_GRACE_MS, NOTIFY_OPTIONS, type NotifyOptions } from './options.js';
import { TargetGuard, TargetRefused } from './ssrf-guard.js';

export interface Answer {
  readonly status: number;
  /** What `Retry-After` asks for; 0 when it asks for nothing. */
  readonly retryAfterMs: number;
}

const HEADERS_MAX_BYTES = 16 * 1024;
/** How long a connection is kept that nobody uses: a target that never closes one would keep a descriptor for ever. */
const IDLE_MS = 30_000;

/**
 * Makes one call to a target that nobody here trusts: within a total time, without following redirects, reading only so
 * much, and connecting only to addresses that the guard lets through.
 */
@Injectable()
export class TargetCaller implements OnModuleDestroy {
  private readonly guard: TargetGuard;
  private readonly agents: { 'http:': http.Agent; 'https:': https.Agent };

  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {
    this.guard = new TargetGuard(options.allow);
    const bounds = { maxSockets: options.targetConcurrencyMax, maxFreeSockets: 1, timeout: IDLE_MS };
    const keeping = { keepAlive: true, ...bounds };
    this.agents = { 'http:': new http.Agent(keeping), 'https:': new https.Agent(keeping) };
  }

  onModuleDestroy(): void {
    for (const agent of Object.values(this.agents)) agent.destroy();
  }

  /**
   * Posts a body and tells the status, whatever it is.
   * @throws TargetRefused for a target that must not be called; Error when there was no answer in time
   */
  async post(target: string, headers: Record<string, string>, body: string): Promise<Answer> {
    // guard: notify.target
    const url = this.guard.check(target);
    const endsAt = performance.now() + this.options.callTimeoutMs;
    const first = await this.postOnce(url, { headers, body, endsAt });
    // A kept connection that the target had closed: nothing of this call has arrived, and a new one tells more.
    return first === 'closed before' ? this.postAnew(url, { headers, body, endsAt }) : first;
  }

  private async postAnew(url: URL, call: Call): Promise<Answer> {
    const answer = await this.postOnce(url, { ...call, isNew: true });
    if (answer === 'closed before') throw new Error('the connection was closed');
    return answer;
  }

  private postOnce(url: URL, { headers, body, endsAt, isNew = false }: Call): Promise<Answer | 'closed before'> {
    const protocol = url.protocol as keyof typeof this.agents;
    const leftMs = Math.max(1, endsAt - performance.now());
    return new Promise((resolve, reject) => {
      const request = (protocol === 'https:' ? https : http).request(url, {
        method: 'POST',
        headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
        agent: isNew ? false : this.agents[protocol],
        maxHeaderSize: HEADERS_MAX_BYTES,
        // The addresses that are connected to are the ones that were checked: a second look-up is never asked.
        // guard: notify.look-up
        lookup: this.guard.lookupFor(url),
      });
      const timer = setTimeout(() => {
        const late = new Error(`no answer within ${this.options.callTimeoutMs} ms`);
        request.destroy(late);
        // Not by the request's own word alone: whatever became of it, the call is over.
        reject(late);
      }, leftMs);
      // The connection is no request's any more: neither `response` nor `error` would follow.
      request.once('upgrade', (response, socket) => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, retryAfterMs: 0 });
      });
      request.once('response', (response) => {
        // The status says all that matters; what is still to come has a bound of its own.
        // guard: notify.response
        clearTimeout(timer);
        this.drain(response).then(() => {
          resolve({ status: response.statusCode ?? 0, retryAfterMs: retryAfterMsOf(response.headers) });
        });
      });
      request.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        if (request.reusedSocket && error.code === 'ECONNRESET') resolve('closed before');
        else reject(error instanceof TargetRefused ? error : new Error(error.message || String(error.code)));
      });
      request.end(body);
    });
  }

  /** A short rest is read, so that the connection can be used again; more is cut off. */
  private drain(response: http.IncomingMessage): Promise<void> {
    return new Promise((resolve) => {
      let bytes = 0;
      const cut = () => response.destroy();
      const timer = setTimeout(cut, BODY_GRACE_MS);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > this.options.answerMaxBytes) cut();
      });
      // Cut off, by either side, after its status: that is no failure of the call.
      response.on('error', () => {});
      response.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

interface Call {
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly endsAt: number;
  readonly isNew?: boolean;
}

/** Seconds, or a date (RFC 9110, 10.2.3). By the target's own clock where it tells it, so that ours need not be right. */
function retryAfterMsOf({ 'retry-after': text, date }: http.IncomingHttpHeaders): number {
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1_000;
  const now = Date.parse(date ?? '');
  const wait = Date.parse(text) - (Number.isNaN(now) ? Date.now() : now);
  return Number.isNaN(wait) ? 0 : Math.max(0, wait);
}
