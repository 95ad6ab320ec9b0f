import type { AppProcess } from './app-process.js';

export interface LogLine {
  level: string;
  message: string;
  context?: string;
  stack?: string;
}

/** What an app has logged so far; what is no JSON (a crash, a print) is taken as a line of its own level. */
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

/** Lines that a user's mistake must not leave behind: errors, and stack traces of whatever level. */
export function troubleIn(instances: readonly AppProcess[]): string[] {
  return instances.flatMap((instance) =>
    logLines(instance)
      .filter(
        (line) => !['log', 'warn', 'debug', 'verbose'].includes(line.level) || /\n? {4}at /.test(JSON.stringify(line)),
      )
      .map((line) => `${instance.app}: ${JSON.stringify(line)}`),
  );
}
