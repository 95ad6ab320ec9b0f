import type { IncomingHttpHeaders } from 'node:http';

/**
 * Milliseconds that a target wants to be left alone: seconds, or a date (RFC 9110, 10.2.3). A date counts by the target's
 * own clock where the answer has a `Date`, so that ours need not be right. 0 without a header, and for one that cannot be
 * read.
 */
export function retryAfterMsOf({ 'retry-after': text, date }: IncomingHttpHeaders, nowMs = Date.now()): number {
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1_000;
  const now = Date.parse(date ?? '');
  const wait = Date.parse(text) - (Number.isNaN(now) ? nowMs : now);
  return Number.isNaN(wait) ? 0 : Math.max(0, wait);
}
