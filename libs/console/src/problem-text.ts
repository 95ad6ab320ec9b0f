import { CallFailed } from './api';
import type { Word } from './i18n';

/** Why a call has failed, for the page. */
export function problemText(error: unknown, words: Record<Word, string>): string {
  if (!(error instanceof CallFailed)) return error instanceof Error ? error.message : String(error);
  const { status, app, detail } = error;
  if (status === 0) return `${words.noAnswer} ${app}.`;
  if (status === 401) return `${app}: ${words.tokenRefused}`;
  if (status === 429) return `${app}: ${words.tooMany}`;
  return `${app}: ${detail}`;
}

/** Whether the page keeps figures of an app that may be down. An app that refuses a call does answer. */
export const isUnanswered = (error: unknown): boolean => error instanceof CallFailed && error.status === 0;
