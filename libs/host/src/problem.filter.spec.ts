import { type ArgumentsHost, Logger } from '@nestjs/common';
import { OutcomeUnknown, Rejected, Unavailable } from 'nest-dtx';
import { beforeEach, expect, test, vi } from 'vitest';
import { RouteTable } from './allowed-methods.js';
import type { HttpReply } from './http-request-reply.js';
import { ProblemFilter } from './problem.filter.js';

let lines: string[];
let bodies: string[];
let filter: ProblemFilter;

beforeEach(() => {
  lines = [];
  bodies = [];
  vi.spyOn(Logger.prototype, 'warn').mockImplementation((line: string) => void lines.push(line));
  filter = new ProblemFilter(new RouteTable());
});

function answer(error: unknown, id: number): void {
  const request = { method: 'GET', url: `/orders/${id}`, routeOptions: { url: '/orders/:id' }, is404: false };
  const reply = { sent: false, status: () => reply, headers: () => reply, send: (body: string) => bodies.push(body) };
  const http = { getRequest: () => request, getResponse: () => reply as unknown as HttpReply };
  filter.catch(error, { getType: () => 'http', switchToHttp: () => http } as unknown as ArgumentsHost);
}

test('an outage is one warning per call pattern with its reason, and the answers do not show the reason', () => {
  for (let id = 0; id < 20; id++) answer(new Unavailable('no connection to db-7'), id);
  answer(new OutcomeUnknown('db-7 was silent'), 1);
  expect(lines).toEqual([
    'GET /orders/:id answered 503: no connection to db-7',
    'GET /orders/:id answered 503: outcome unknown, db-7 was silent',
  ]);
  expect(bodies).toHaveLength(21);
  for (const body of bodies) expect(body).not.toContain('db-7');
});

test('a business refusal is not logged', () => {
  answer(new Rejected('OUT_OF_STOCK'), 1);
  expect(lines).toEqual([]);
  expect(bodies[0]).toContain('OUT_OF_STOCK');
});
