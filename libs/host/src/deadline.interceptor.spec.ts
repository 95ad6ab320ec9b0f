import type { ExecutionContext } from '@nestjs/common';
import { OutcomeUnknown } from 'nest-dtx';
import { firstValueFrom, NEVER, of } from 'rxjs';
import { expect, test } from 'vitest';
import { AnswerDeadline } from './deadline.interceptor.js';

const request = { method: 'POST', url: '/orders/17?x=1', routeOptions: { url: '/orders/:id' } };
const context = { getType: () => 'http', switchToHttp: () => ({ getRequest: () => request }) } as ExecutionContext;

test('a call that is not answered in time has an unknown outcome, and the text names the call and the remedy', async () => {
  const answer = firstValueFrom(new AnswerDeadline(20).intercept(context, { handle: () => NEVER }));
  const late = await answer.catch((error: unknown) => error);
  expect(late).toBeInstanceOf(OutcomeUnknown);
  expect(String(late)).toMatch(/POST \/orders\/:id not answered within 20 ms; it goes on, .* same key/);
});

test('a call that is answered in time keeps its answer', async () => {
  const answer = firstValueFrom(new AnswerDeadline(20).intercept(context, { handle: () => of('created') }));
  expect(await answer).toBe('created');
});
