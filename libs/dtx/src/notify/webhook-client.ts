// For step 4, deliver: one HTTP call to a target. It stores nothing. If the process dies after the target has answered,
// the target is called again under the same `webhook-id`.
import http from 'node:http';
import https from 'node:https';
import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { textOfCallError } from './call-error-text.js';
import { BODY_GRACE_MS, NOTIFY_OPTIONS, type NotifyOptions } from './options.js';
import { retryAfterMsOf } from './retry-after.js';
import { SsrfGuard, TargetRefused } from './ssrf-guard.js';

/** Answer of a target. */
export interface Answer {
  readonly status: number;
  /** Delay requested by `Retry-After`, in milliseconds. 0 without the header. */
  readonly retryAfterMs: number;
}

const HEADERS_MAX_BYTES = 16 * 1024;
/** Time after which an idle connection is closed. Calls to many targets would otherwise hold many file descriptors. */
const IDLE_MS = 4_000;

/**
 * Calls untrusted targets within a total time limit. It follows no redirects, bounds the answer, and connects only to
 * addresses that the guard admits.
 */
@Injectable()
export class WebhookClient implements OnModuleDestroy {
  private readonly guard: SsrfGuard;
  private readonly agents: { 'http:': http.Agent; 'https:': https.Agent };

  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {
    this.guard = new SsrfGuard(options.allow);
    const perTarget = options.targetConcurrencyMax;
    // Fewer free ones would close a connection after most calls to a busy target.
    const keeping = { keepAlive: true, maxSockets: perTarget, maxFreeSockets: perTarget, timeout: IDLE_MS };
    this.agents = { 'http:': new http.Agent(keeping), 'https:': new https.Agent(keeping) };
  }

  onModuleDestroy(): void {
    for (const agent of Object.values(this.agents)) agent.destroy();
  }

  /**
   * Posts a body and returns the status of the answer, 2xx or not.
   * @throws TargetRefused if the target must not be called
   * @throws Error without an answer within `callTimeoutMs`
   */
  async post(target: string, headers: Record<string, string>, body: string): Promise<Answer> {
    // guard: notify.target
    const url = this.guard.check(target);
    const endsAt = performance.now() + this.options.callTimeoutMs;
    const first = await this.postOnce(url, { headers, body, endsAt });
    // The target had closed the kept connection, so this call has not arrived. A new connection is tried once.
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
    let answer: Answer | undefined;
    return new Promise((resolve, reject) => {
      const request = (protocol === 'https:' ? https : http).request(url, {
        method: 'POST',
        headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
        agent: isNew ? false : this.agents[protocol],
        maxHeaderSize: HEADERS_MAX_BYTES,
        // The connection uses exactly the checked addresses, without a second look-up.
        // guard: notify.look-up
        lookup: this.guard.lookupFor(url),
      });
      const timer = setTimeout(() => {
        const late = new Error(`no answer within ${this.options.callTimeoutMs} ms`);
        request.destroy(late);
        // Rejects here as well, since a destroyed request need not emit `error`.
        reject(late);
      }, leftMs);
      // After an upgrade the request emits neither `response` nor `error`.
      request.once('upgrade', (response, socket) => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, retryAfterMs: 0 });
      });
      request.once('response', (response) => {
        // The status decides the call. Reading the body has a time limit of its own.
        // guard: notify.response
        clearTimeout(timer);
        const known = { status: response.statusCode ?? 0, retryAfterMs: retryAfterMsOf(response.headers) };
        answer = known;
        this.drain(response).then(() => resolve(known));
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        // A connection that breaks after the status cannot change the answer.
        if (answer !== undefined) resolve(answer);
        else if (request.reusedSocket && error.code === 'ECONNRESET') resolve('closed before');
        else reject(error instanceof TargetRefused ? error : new Error(textOfCallError(error)));
      });
      request.end(body);
    });
  }

  /** Reads a short body so that the connection can be reused. Cuts off a longer one. */
  private drain(response: http.IncomingMessage): Promise<void> {
    return new Promise((resolve) => {
      let bytes = 0;
      const cut = () => response.destroy();
      const timer = setTimeout(cut, BODY_GRACE_MS);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > this.options.answerMaxBytes) cut();
      });
      // A body cut off by either side after the status is not a failure of the call.
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
