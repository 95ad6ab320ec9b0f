import { type AppApi, CallFailed } from './api';
import type { Word } from './i18n';
import { problemText } from './problem-text';
import { isFinal } from './states';
import type { Transaction } from './types';

export type ActKind = 'retry' | 'done' | 'reject' | 'acknowledge' | 'retry-all';

/** An action on rows, before it is confirmed. `targets` are ids of rows, or of alerts for `acknowledge`. */
export interface Act {
  readonly kind: ActKind;
  readonly targets: ReadonlyArray<{
    readonly api: AppApi;
    readonly id: string;
    readonly what: string;
    readonly scheme: string;
  }>;
  /** For `retry-all`. */
  readonly api?: AppApi;
  readonly scheme?: string;
  readonly count?: number;
}

/** The outcome for one row, or for the scheme of a retry of all. */
export interface Result {
  readonly app: string;
  readonly id: string;
  readonly text: string;
  readonly isDone: boolean;
}

type Words = Record<Word, string>;

/** The schemes whose rows a retry concerns. Empty for other actions. */
export function retriedSchemes({ kind, scheme, targets }: Act): string[] {
  if (kind === 'retry-all') return scheme ? [scheme] : [];
  return kind === 'retry' ? [...new Set(targets.map((target) => target.scheme))] : [];
}

/** The rows that an action concerns, as its preview says. */
export const rowsOf = ({ kind, count = 0, targets }: Act): number => (kind === 'retry-all' ? count : targets.length);

/**
 * One call after the other, so that an app is not flooded. Each row has its own result.
 * @param stop ends it after the call under way. The rows after it are untouched
 */
export async function carryOut(
  act: Act,
  by: { readonly operator: string; readonly note: string },
  words: Words,
  stop: AbortSignal,
  take: (result: Result) => void,
): Promise<void> {
  if (act.kind === 'retry-all' && act.api) {
    const { api, scheme = '' } = act;
    api.operator = by.operator;
    const retryAll = async () => {
      const { matching } = await api.post<{ matching: number }>('/transactions/retry', { scheme, state: 'PARKED' });
      return `${matching} ${words.rows}`;
    };
    take(await attempt(api, scheme, words, retryAll));
    return;
  }
  for (const { api, id } of act.targets) {
    if (stop.aborted) return;
    api.operator = by.operator;
    take(await attempt(api, id, words, () => callOf(act.kind, api, id, by.note).then(() => words.ok)));
  }
}

function callOf(kind: ActKind, api: AppApi, id: string, note: string): Promise<unknown> {
  const at = encodeURIComponent(id);
  if (kind === 'acknowledge') return api.post(`/alerts/${at}/acknowledge`, {});
  if (kind === 'retry') return api.post(`/transactions/${at}/retry`, note ? { note } : {});
  return api.post(`/transactions/${at}/resolve`, { outcome: kind, note });
}

async function attempt(api: AppApi, id: string, words: Words, work: () => Promise<string>): Promise<Result> {
  const { name: app } = api;
  try {
    return { app, id, text: await work(), isDone: true };
  } catch (error) {
    const text = problemText(error, words);
    const { status } = error as Partial<CallFailed>;
    const hint = status === 404 ? words.gone : status === 409 && (await isSettled(api, id)) ? words.somebodyElse : '';
    return { app, id, text: hint ? `${hint} (${text})` : text, isDone: false };
  }
}

/** A conflict has other reasons, too: a scheme without a rejection, or another retry of all. The state of the row decides. */
async function isSettled(api: AppApi, id: string): Promise<boolean> {
  try {
    return isFinal((await api.get<Transaction>(`/transactions/${encodeURIComponent(id)}`)).state);
  } catch {
    return false;
  }
}
