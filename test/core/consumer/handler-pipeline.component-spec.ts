import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExceptionFilter,
  type NestInterceptor,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { catchError, EMPTY, of } from 'rxjs';
import { describe, expect, test } from 'vitest';
import { type Handle, INSERT, library, useHandler } from './handler-with-effects.js';

const { start, handled, effects } = useHandler('handler_pipeline');

@Catch()
class Silent implements ExceptionFilter {
  catch() {
    return EMPTY;
  }
}
@Catch()
class OnlyLogs implements ExceptionFilter {
  catch(_: unknown, __: ArgumentsHost) {}
}
class Swallows implements NestInterceptor {
  intercept(_: unknown, next: CallHandler) {
    return next.handle().pipe(catchError(() => EMPTY));
  }
}
class AnswersItself implements NestInterceptor {
  intercept() {
    return of('done');
  }
}

const half: Handle = async (tx, { gid }) => {
  await tx.query(INSERT, [gid]);
  throw new Error('after its first half');
};

describe('the pipeline around a handler', () => {
  test.each([
    ['a filter that answers nothing', UseFilters(new Silent())],
    ['a filter that only logs', UseFilters(new OnlyLogs())],
    ['an interceptor that swallows the error', UseInterceptors(new Swallows())],
  ])('a handler does not commit a part of its work after %s', async (_, decorate) => {
    await start(half, { decorate: [decorate] });
    const { gid, state, error } = await handled();
    expect([state, error, await effects(gid)]).toEqual(['PARKED', 'after its first half', 0]);
  });

  test.each([
    ['a filter that answers nothing', UseFilters(new Silent())],
    ['a filter that only logs', UseFilters(new OnlyLogs())],
  ])('a refusal is not hidden by %s', async (_, decorate) => {
    const refuse: Handle = async () => {
      throw new library.Rejected('NO');
    };
    await start(refuse, { decorate: [decorate] });
    const { gid, state } = await handled();
    expect([state, await effects(`${gid}.refused`)]).toEqual(['HANDLED', 1]);
  });

  test('a message is not handled if an interceptor answers instead of the handler', async () => {
    await start(half, { decorate: [UseInterceptors(new AnswersItself())] });
    const { state, error } = await handled();
    expect(state).toBe('PARKED');
    expect(error).toContain('the handler did not run');
  });
});
