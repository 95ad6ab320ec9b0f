// Calls to the apps, as a client would make them.
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../command/deadline.mjs';

/** One call; rejects when there is no answer. @returns {Promise<{ status: number, body: any }>} */
export async function call(method, url, { body, headers = {}, timeoutMs = 10_000 } = {}) {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), connection: 'close', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : parse(text) };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A call that must succeed. */
export async function expectOk(method, url, options) {
  const answer = await call(method, url, options);
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  throw new Error(`${method} ${url} answered ${answer.status} ${JSON.stringify(answer.body)}`);
}

/**
 * Repeats a call until it is answered with something else than "not now". Only for calls that may be repeated: reads,
 * and writes with an Idempotency-Key. `isFinal` may send back an answer that only says "later". Null when the bound is
 * reached.
 */
export function untilAnswered(method, url, { boundMs, onFailure = () => {}, isFinal = () => true, ...options }) {
  return until(
    async () => {
      try {
        const answer = await call(method, typeof url === 'function' ? url() : url, options);
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

export const reasonOf = (error) =>
  error.name === 'TimeoutError' ? 'no answer in time' : (error.cause?.code ?? error.cause?.message ?? error.message);

/** Waits until an app says that it is ready; the reason it is not when the bound is reached, else null. */
export async function untilReady(url, { boundMs }) {
  let last = 'no answer';
  const isReady = async () => {
    const answer = await call('GET', `${url}/health/ready`, { timeoutMs: 3_000 }).catch((error) => {
      last = reasonOf(error);
      return null;
    });
    if (answer && answer.status !== 200) last = `answered ${answer.status}`;
    return answer?.status === 200;
  };
  return (await until(isReady, { boundMs, everyMs: 150 })) ? null : last;
}
