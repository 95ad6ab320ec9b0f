import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UnavailableLog } from './unavailable-log-throttle.js';

let lines: string[];
let log: UnavailableLog;

beforeEach(() => {
  vi.useFakeTimers();
  lines = [];
  log = new UnavailableLog((line) => lines.push(line), 10_000);
});
afterEach(() => {
  vi.useRealTimers();
});

test('the first line is logged at once, and equal ones are counted until the period ends', () => {
  for (let call = 0; call < 5; call++) log.add('POST /orders', 'no connection to RabbitMQ');
  expect(lines).toEqual(['POST /orders answered 503: no connection to RabbitMQ']);
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(1)).toEqual(['POST /orders answered 503: no connection to RabbitMQ (4 more like it in 10 s)']);
});

test('a period without another line ends silently, and the next line is logged at once', () => {
  log.add('POST /orders', 'no connection to RabbitMQ');
  vi.advanceTimersByTime(30_000);
  expect(lines).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
  log.add('POST /orders', 'no connection to RabbitMQ');
  expect(lines).toHaveLength(2);
});

test('another call and another text have lines of their own', () => {
  log.add('POST /orders', 'no connection to RabbitMQ');
  log.add('GET /orders/:id', 'no connection to RabbitMQ');
  log.add('POST /orders', 'the database is not open');
  expect(lines).toHaveLength(3);
});

test('texts that differ only in ids and numbers are one kind', () => {
  for (const gid of ['01900000-0000-7000-8000-000000000000', '01900000-0000-7000-8000-00000000abcd'])
    log.add('POST /checkouts', `TCC transaction ${gid} was not registered within ${gid.length} ms`);
  expect(lines).toHaveLength(1);
});

test('unknown texts without end do not fill the log or the memory', () => {
  const text = (index: number) => String.fromCharCode(...[...String(index)].map((digit) => 97 + Number(digit)));
  for (let index = 0; index < 5_000; index++) log.add('POST /orders', text(index));
  expect(lines.length).toBeLessThan(110);
  vi.advanceTimersByTime(10_000);
  expect(lines.at(-1)).toMatch(/\(4899 more like it in 10 s\)$/);
});
