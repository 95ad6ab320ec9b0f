// Calls to the apps, as a client would make them.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../cli/error-text.js';
import { until } from '../cli/waits-and-progress.js';

/** The caller names the type of the body: null if there is none, text if it is not JSON. */
export interface Answer<Body = unknown> {
  readonly status: number;
  readonly body: Body;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
}

/** One call. Rejects without an answer. */
export async function call<Body = unknown>(
  method: string,
  url: string,
  { body, headers = {}, timeoutMs = 10_000 }: CallOptions = {},
): Promise<Answer<Body>> {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), connection: 'close', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : parse(text)) as Body };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A call that must succeed. */
export async function expectOk<Body = unknown>(method: string, url: string, options?: CallOptions): Promise<Body> {
  const answer = await call<Body>(method, url, options);
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  throw new Error(`${method} ${url} answered ${answer.status} ${JSON.stringify(answer.body)}`);
}

export interface RetryOptions<Body> extends CallOptions {
  readonly boundMs: number;
  readonly onFailure?: (why: string) => void;
  /** False for an answer below 500 that asks for a later call. */
  readonly isFinal?: (answer: Answer<Body>) => boolean;
}

/**
 * Repeats a call until it has a final answer, or returns null at the limit. Only for calls that may be repeated: reads, and
 * writes with an Idempotency-Key. `url` is read for each call.
 */
export function untilAnswered<Body = unknown>(
  method: string,
  url: () => string,
  { boundMs, onFailure = () => {}, isFinal = () => true, ...options }: RetryOptions<Body>,
): Promise<Answer<Body> | null> {
  return until(
    async () => {
      try {
        const answer = await call<Body>(method, url(), options);
        if (answer.status < 500 && isFinal(answer)) return answer;
        onFailure(`answered ${answer.status}`);
      } catch (error) {
        onFailure(reasonOf(error));
      }
      await sleep(200);
      return null;
    },
    { boundMs, everyMs: 50 },
  );
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'no answer in time';
  const { code, message } = (error.cause ?? {}) as { code?: string; message?: string };
  return code ?? message ?? messageOf(error);
}

/** Waits until an app is ready. Returns null then, or the reason why it is not at the limit. */
export async function untilReady(url: string, { boundMs }: { boundMs: number }): Promise<string | null> {
  let last = 'no answer';
  const isReady = async () => {
    const answer = await call('GET', `${url}/health/ready`, { timeoutMs: 3_000 }).catch((error: unknown) => {
      last = reasonOf(error);
      return null;
    });
    if (answer && answer.status !== 200) last = `answered ${answer.status}`;
    return answer?.status === 200;
  };
  return (await until(isReady, { boundMs, everyMs: 150 })) ? null : last;
}
