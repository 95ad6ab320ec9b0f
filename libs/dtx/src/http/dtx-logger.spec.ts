import { ConsoleLogger } from '@nestjs/common';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { withGid, withTraceparent } from '../core/trace-and-gid-context.js';
import { DtxLogger, logFields } from './dtx-logger.js';

const TRACE_ID = 'a'.repeat(32);
const TRACEPARENT = `00-${TRACE_ID}-${'b'.repeat(16)}-01`;
const within = <T>(work: () => T) => withTraceparent(TRACEPARENT, () => withGid('order-1', work));

let lines: string[];
beforeEach(() => {
  lines = [];
  const write = (text: string | Uint8Array) => lines.push(String(text)) > 0;
  vi.spyOn(process.stdout, 'write').mockImplementation(write);
  vi.spyOn(process.stderr, 'write').mockImplementation(write);
});
afterEach(() => vi.restoreAllMocks());

it('logFields returns gid, trace id and traceparent of the current work, and nothing outside of it', () => {
  expect(within(logFields)).toEqual({ gid: 'order-1', traceId: TRACE_ID, traceparent: TRACEPARENT });
  expect(withGid('order-2', logFields)).toEqual({ gid: 'order-2' });
  expect(logFields()).toEqual({});
});

it('DtxLogger writes one JSON object per line with the fields', () => {
  within(() => new DtxLogger().log('paid', 'Payments'));
  new DtxLogger().log('outside');
  const [inside, outside] = lines.map((line) => JSON.parse(line));
  expect(inside).toMatchObject({
    level: 'log',
    message: 'paid',
    context: 'Payments',
    gid: 'order-1',
    traceId: TRACE_ID,
  });
  expect(outside).not.toHaveProperty('gid');
  expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
});

it('DtxLogger writes the fields where Nest has no method for them, as in Nest 11.1.3', () => {
  const prototype = ConsoleLogger.prototype as unknown as Record<string, unknown>;
  const { getJsonLogObject } = prototype;
  try {
    delete prototype.getJsonLogObject;
    within(() => new DtxLogger().error('failed', 'the stack', 'Payments'));
  } finally {
    prototype.getJsonLogObject = getJsonLogObject;
  }
  expect(JSON.parse(lines[0]!)).toMatchObject({
    level: 'error',
    message: 'failed',
    stack: 'the stack',
    context: 'Payments',
    gid: 'order-1',
    traceparent: TRACEPARENT,
  });
});
