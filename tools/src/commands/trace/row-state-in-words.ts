// The state of a durable row, in words.
import type { Row } from './row-sources.js';

export function workOf({ state, attempts, next_attempt_at: next, last_error: error }: Row): string {
  const tried = Number(attempts) > 0 ? `, attempts ${attempts}` : '';
  const due = next && state !== 'PARKED' ? `, next attempt at ${next.toISOString().slice(11, 23)}` : '';
  return `${state}${tried}${due}${error ? `, last error: ${error.split('\n')[0]}` : ''}`;
}
