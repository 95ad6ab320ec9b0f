// A time on the command line: `30m` ago, or ISO 8601 with its zone. The same forms as `nest-dtx redrive`.
import { OperatorError } from './operator-error.js';

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/**
 * Milliseconds since the epoch of a past time.
 * @throws OperatorError for another text, for the future, and for a time before `oldest`
 */
export function pastMoment(option: string, text: string, oldest: { agoMs: number; reason: string }): number {
  const nowMs = Date.now();
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const agoMs = count && unit ? Number(count) * UNIT_MS[unit]! : Number.NaN;
  const atMs = ISO.test(text) ? Date.parse(text) : nowMs - agoMs;
  if (Number.isNaN(atMs))
    throw new OperatorError(
      `${option} "${text}" is not a time: expected 30m, 2h or 3d for that long ago, or ISO 8601 with its zone such as 2026-01-31T12:00:00Z`,
    );
  if (atMs > nowMs)
    throw new OperatorError(`${option} ${text} is in the future: now is ${new Date(nowMs).toISOString()}`);
  if (atMs < nowMs - oldest.agoMs) throw new OperatorError(`${option} ${text} is too long ago: ${oldest.reason}`);
  return atMs;
}
