import type { Answered } from './group-calls.js';

/**
 * The end of a round of calls that did not all succeed. `failed`: counts as an attempt. `away`: an app is unavailable.
 * `fatal`: a repeat cannot succeed.
 */
export interface RoundFailure {
  readonly kind: 'failed' | 'away' | 'fatal';
  readonly error: string;
}

/** Null if every call has succeeded. */
export function failureOf(answers: readonly Answered[]): RoundFailure | null {
  const failures = answers.filter(({ verdict }) => verdict !== 'ok');
  if (failures.length === 0) return null;
  const error = failures.map((one) => one.error).join('; ');
  // After the pivot a refusal cannot be carried out either.
  if (failures.some(({ verdict }) => verdict === 'illegal' || verdict === 'refused')) return { kind: 'fatal', error };
  return { kind: failures.every(({ verdict }) => verdict === 'away') ? 'away' : 'failed', error };
}

/** Whether a failure counts as an attempt of its step. */
export const isCounted = ({ verdict }: Answered): boolean => verdict !== 'ok' && verdict !== 'away';
