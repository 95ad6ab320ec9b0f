// The management HTTP API of the broker.
import { codeOf, messageOf } from '../cli/error-text.js';

interface CallOptions {
  readonly timeoutMs?: number;
  /** Statuses that are an answer and not a failure, beside 2xx. */
  readonly allow?: readonly number[];
}

/** An answer of the management API that is not a success. */
export class ManagementError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** One call to the management API. Null if the answer has no body or its status is one that the caller allows. */
export async function management<T = unknown>(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  { timeoutMs = 15_000, allow = [] }: CallOptions = {},
): Promise<T | null> {
  const { protocol, host, username, password } = new URL(url);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const response = await fetch(`${protocol}//${host}/api${path}`, {
    method,
    headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error: Error) => {
    throw new Error(`the management API at ${host} does not answer (${codeOf(error.cause) ?? messageOf(error)})`);
  });
  const text = await response.text();
  if (!response.ok && !allow.includes(response.status))
    throw new ManagementError(
      `the management API at ${host} answered ${method} /api${path} with ${response.status} ${text.slice(0, 200)}; ` +
        'check user, password and tags in its URL',
      response.status,
    );
  return response.ok && text !== '' ? (JSON.parse(text) as T) : null;
}
