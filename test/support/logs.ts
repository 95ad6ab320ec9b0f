import type { AppProcess } from './app-process.js';

export interface LogLine {
  level: string;
  message: string;
  context?: string;
  stack?: string;
}

/** The log lines of an app so far. A line that is not JSON (a crash, a print) gets a level of its own. */
export function logLines(instance: AppProcess): LogLine[] {
  const lines = instance.log().split('\n').filter(Boolean);
  return lines.map((line) => {
    try {
      return JSON.parse(line) as LogLine;
    } catch {
      return { level: /^listening on /.test(line) ? 'log' : 'raw', message: line };
    }
  });
}

/** Lines that a user's mistake must not cause: errors, and stack traces of any level. */
export function troubleIn(instances: readonly AppProcess[]): string[] {
  return instances.flatMap((instance) =>
    logLines(instance)
      .filter(
        (line) => !['log', 'warn', 'debug', 'verbose'].includes(line.level) || /\n? {4}at /.test(JSON.stringify(line)),
      )
      .map((line) => `${instance.app}: ${JSON.stringify(line)}`),
  );
}
