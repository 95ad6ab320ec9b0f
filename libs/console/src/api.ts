/** Calls of the operations API of one app. The token lives in this object only, so a reload asks for it again. */

/** An answer other than 2xx, or no answer. `status` is 0 without one. */
export class CallFailed extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail);
  }
}

const LIMIT_MS = 15_000;

export class AppApi {
  /** The operator, for the record of the app. */
  operator = '';

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
    const operator = this.operator.replace(/[^ -~]/g, '?').slice(0, 64);
    const headers = { 'content-type': 'application/json', 'dtx-operator': operator || 'console' };
    return this.call<Answer>(path, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  private async call<Answer>(path: string, init: RequestInit): Promise<Answer> {
    let response: Response;
    try {
      const headers = { ...this.headers, ...init.headers };
      response = await fetch(`${this.base}${path}`, { ...init, headers, signal: AbortSignal.timeout(LIMIT_MS) });
    } catch {
      throw new CallFailed(0, `${this.name}: no answer`);
    }
    const body = await response.json().catch(() => ({}));
    if (response.ok) return body as Answer;
    const { detail, message } = body as { detail?: string; message?: string };
    throw new CallFailed(response.status, String(detail ?? message ?? response.statusText));
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
