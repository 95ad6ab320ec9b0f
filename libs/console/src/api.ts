import { operatorHeader } from './operator-header';

/** Calls of the operations API of one app. The token lives in this object only, so a reload asks for it again. */

/** An answer other than 2xx, or no answer. `status` is 0 without one. */
export class CallFailed extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly app: string,
  ) {
    super(detail);
  }
}

const LIMIT_MS = 15_000;

export class AppApi {
  /** The operator, for the record of the app. */
  operator = '';
  private readonly refusal = new AbortController();
  /** Aborted by the first answer 401. The app is not called after it: each wrong token counts against the address. */
  readonly refused = this.refusal.signal;

  constructor(
    readonly name: string,
    /** The URL of `/dtx`, without a slash at its end. */
    readonly base: string,
    private readonly token: string,
  ) {}

  get headers(): Record<string, string> {
    // A guard of the app may know the user by a cookie, and then the token is empty.
    return this.token === '' ? {} : { authorization: `Bearer ${this.token}` };
  }

  get<Answer>(path: string): Promise<Answer> {
    return this.call<Answer>(path, {});
  }

  post<Answer>(path: string, body: object): Promise<Answer> {
    const headers = { 'content-type': 'application/json', 'dtx-operator': operatorHeader(this.operator) };
    return this.call<Answer>(path, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  /** A stream of events. @throws if the app cannot be reached, or refuses the token */
  async stream(path: string, init: { headers: Record<string, string>; signal: AbortSignal }): Promise<Response> {
    const signal = AbortSignal.any([init.signal, this.refused]);
    return this.take(await fetch(`${this.base}${path}`, { headers: { ...this.headers, ...init.headers }, signal }));
  }

  private async call<Answer>(path: string, init: RequestInit): Promise<Answer> {
    if (this.refused.aborted) throw new CallFailed(401, '', this.name);
    let response: Response;
    try {
      const headers = { ...this.headers, ...init.headers };
      const signal = AbortSignal.any([AbortSignal.timeout(LIMIT_MS), this.refused]);
      response = this.take(await fetch(`${this.base}${path}`, { ...init, headers, signal }));
    } catch {
      throw new CallFailed(this.refused.aborted ? 401 : 0, '', this.name);
    }
    const body = await response.json().catch(() => ({}));
    if (response.ok) return body as Answer;
    const { detail, message } = body as { detail?: string; message?: string };
    throw new CallFailed(response.status, String(detail ?? message ?? response.statusText), this.name);
  }

  private take(response: Response): Response {
    if (response.status === 401) this.refusal.abort();
    return response;
  }
}

/** The URL of `/dtx` of the app that serves this page, for a page at `/dtx/console`. */
export const ownBase = (): string => location.origin + location.pathname.replace(/\/console\/?$/, '');

/** The id that sorts right after all ids of a time, as a cursor of a list. Ids are UUIDs of version 7. */
export function cursorBefore(at: Date): string {
  const hex = Math.max(0, at.getTime()).toString(16).padStart(12, '0');
  return btoa(`${hex.slice(0, 8)}-${hex.slice(8)}-`)
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
