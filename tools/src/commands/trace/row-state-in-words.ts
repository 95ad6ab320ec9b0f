// The state of a row of the library, in words.
import type { TracedRow } from 'nest-dtx/testing';

export function stateInWords({ source, what, state, attempts, nextAttemptAt, lastError, message }: TracedRow): string {
  const tried = attempts > 0 ? `, attempts ${attempts}` : '';
  const due = nextAttemptAt ? `, next attempt at ${nextAttemptAt.slice(11, 23)}` : '';
  const missing = message?.awaiting.length ? `, no receipt from ${message.awaiting.join(', ')}` : '';
  return `${source} ${what}: ${state}${tried}${due}${missing}${lastError ? `, last error: ${lastError.split('\n')[0]}` : ''}`;
}
