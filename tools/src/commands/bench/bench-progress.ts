// The progress bar of a bench. On a terminal it stays in its line, otherwise each step has a line of its own.
import type { Say } from '../../cli/say-type.js';

const WIDTH = 24;

export interface Progress {
  /** A step outside the bar. @throws if the command was interrupted */
  step(what: string): void;
  /** @throws if the command was interrupted */
  bar(done: number, total: number, what: string): void;
  readonly say: Say;
  readonly signal: AbortSignal;
}

export function progressOn(out: NodeJS.WriteStream, { say, signal }: { say: Say; signal: AbortSignal }): Progress {
  const show = (line: string, isLast: boolean) => {
    signal.throwIfAborted();
    if (!out.isTTY) return say(line);
    out.write(`\r\x1b[K${line.slice(0, (out.columns || 80) - 1)}${isLast ? '\n' : ''}`);
  };
  return {
    say,
    signal,
    step: (what) => show(what, true),
    bar: (done, total, what) => show(`${barOf(done, total)} ${what}`, done === total),
  };
}

export function barOf(done: number, total: number): string {
  const full = Math.round((done / total) * WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${String(done).padStart(String(total).length)}/${total}`;
}
