/**
 * Log of the 503 answers, whose texts the callers do not get. Equal lines are counted for a period and then logged once
 * with their number, so an outage under load does not fill the log. A process that dies loses only such a number.
 */

const PERIOD_MS = 10_000;
/** Texts may differ in ways that `kindOf` does not know. Past this number a route has one line per period. */
const LINES_MAX = 100;

/**
 * Logs 503 answers, and equal ones once per period with their number. `periodMs` is the period in milliseconds.
 * @example
 *   const log = new UnavailableLog((line) => logger.warn(line));
 *   log.add('GET /orders/:id', 'the database is unavailable');
 */
export class UnavailableLog {
  /** Suppressed lines since the last one, by kind. */
  private readonly suppressed = new Map<string, number>();

  constructor(
    private readonly warn: (line: string) => void,
    private readonly periodMs = PERIOD_MS,
  ) {}

  /** Logs or counts one answer. @param call method and path pattern, such as `GET /orders/:id` */
  add(call: string, text: string): void {
    const line = `${call} answered 503: ${text}`;
    const kind = this.suppressed.size < LINES_MAX ? `${call} ${kindOf(text)}` : call;
    const count = this.suppressed.get(kind);
    if (count !== undefined) {
      this.suppressed.set(kind, count + 1);
      return;
    }
    this.warn(line);
    this.open(kind, line);
  }

  private open(kind: string, line: string): void {
    this.suppressed.set(kind, 0);
    setTimeout(() => {
      const count = this.suppressed.get(kind)!;
      this.suppressed.delete(kind);
      if (count === 0) return;
      this.warn(`${line} (${count} more like it in ${this.periodMs / 1_000} s)`);
      this.open(kind, line);
    }, this.periodMs).unref();
  }
}

/** The text without ids and numbers, which differ in each call. */
function kindOf(text: string): string {
  return text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d+/gi, '#');
}
