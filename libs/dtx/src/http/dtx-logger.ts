import { ConsoleLogger, type ConsoleLoggerOptions } from '@nestjs/common';
import { currentGid, currentTraceparent } from '../core/trace-and-gid-context.js';

/** The fields of a log line. A field without a value is missing. */
export interface LogFields {
  /** Id of the global transaction. */
  readonly gid?: string;
  /** The trace id in `traceparent`, 32 hexadecimal digits. */
  readonly traceId?: string;
  /** The W3C traceparent. */
  readonly traceparent?: string;
}

/**
 * The log fields of the current request or message. Never throws.
 * @example
 *   pino({ mixin: logFields });
 */
export function logFields(): LogFields {
  const [gid, traceparent] = [currentGid(), currentTraceparent()];
  const traceId = traceparent?.split('-')[1];
  return { ...(gid && { gid }), ...(traceparent && { traceId, traceparent }) };
}

/** The options of one JSON line in `ConsoleLogger`. */
interface JsonLine {
  readonly context: string;
  readonly logLevel: string;
  readonly writeStreamType?: 'stdout' | 'stderr';
  readonly errorStack?: unknown;
}

/**
 * Nest's console logger with one JSON object per line, which has the `logFields` of the current request or message.
 * @example
 *   const app = await NestFactory.create(AppModule, { logger: new DtxLogger() });
 */
export class DtxLogger extends ConsoleLogger {
  /** @param options of Nest's logger. The default is `{ json: true, colors: false }` */
  constructor(options: ConsoleLoggerOptions = {}) {
    super({ json: true, colors: false, ...options });
  }

  /** Adds `logFields` to the line. */
  // biome-ignore lint/suspicious/noExplicitAny: the type of the line differs between Nest 11 and 12
  protected override getJsonLogObject(message: unknown, options: any): any {
    return { ...super.getJsonLogObject(message, options), ...logFields() };
  }

  /** Writes the line, also with versions of Nest 11 that do not call `getJsonLogObject`. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected override printAsJson(message: unknown, options: any): void {
    if ('getJsonLogObject' in ConsoleLogger.prototype) super.printAsJson(message, options);
    else printLine(message, options);
  }
}

/** The first versions of Nest 11 cannot add fields to a line. */
function printLine(message: unknown, { context, logLevel, writeStreamType, errorStack }: JsonLine): void {
  const line = {
    level: logLevel,
    pid: process.pid,
    timestamp: Date.now(),
    message,
    ...(context && { context }),
    ...(errorStack ? { stack: errorStack } : {}),
    ...logFields(),
  };
  process[writeStreamType ?? 'stdout'].write(`${JSON.stringify(line)}\n`);
}
