import 'reflect-metadata';
import {
  type ArgumentsHost,
  BadRequestException,
  Catch,
  Controller,
  type ExceptionFilter,
  Get,
  Logger,
  Module,
  Param,
  type Type,
} from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { isObservable, lastValueFrom } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailable, OutcomeUnknown, Rejected } from '../core/errors/errors.js';
import { DtxExceptionFilter } from './dtx-exception.filter.js';
import type { ErrorAnswer } from './error-answer.js';

const errors: Record<string, () => unknown> = {
  rejected: () => new Rejected('OUT_OF_STOCK'),
  unavailable: () => new BrokerUnavailable('cannot connect to broker-7'),
  unknown: () => new OutcomeUnknown('broker-7 was silent'),
  driver: () => Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED', fatal: true }),
  invalid: () => new BadRequestException('wrong field'),
  range: () => new RangeError('of the app'),
  bug: () => new Error('a bug'),
};

@Controller()
class Orders {
  @Get('orders/:error')
  get(@Param('error') error: string) {
    throw errors[error]!();
  }
}

/** A filter of the app's own. */
@Catch(RangeError)
class OwnFilter implements ExceptionFilter {
  catch(_: unknown, host: ArgumentsHost) {
    host.switchToHttp().getResponse().status(418).send({ own: true });
  }
}

@Module({
  controllers: [Orders],
  providers: [
    { provide: APP_FILTER, useClass: OwnFilter },
    { provide: APP_FILTER, useClass: DtxExceptionFilter },
  ],
})
class WithProvider {}

@Module({ controllers: [Orders] })
class Plain {}

let app: NestFastifyApplication;
afterEach(async () => {
  vi.restoreAllMocks();
  await app?.close();
});

async function start(module: Type, prepare = (_: NestFastifyApplication) => {}): Promise<void> {
  app = await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter(), { logger: false });
  prepare(app);
  await app.init();
}

async function get(error: string) {
  const answer = await app.inject({ url: `/orders/${error}` });
  return { status: answer.statusCode, retryAfter: answer.headers['retry-after'], body: answer.json() };
}

describe.each<[string, () => Promise<void>]>([
  ['APP_FILTER', () => start(WithProvider)],
  [
    'useGlobalFilters',
    () =>
      start(Plain, (made) => made.useGlobalFilters(new OwnFilter(), new DtxExceptionFilter(made.get(HttpAdapterHost)))),
  ],
])('DtxExceptionFilter as %s', (_, startApp) => {
  it('answers a rejection with 409 and its code', async () => {
    await startApp();
    expect(await get('rejected')).toMatchObject({
      status: 409,
      body: { statusCode: 409, error: 'Conflict', message: 'OUT_OF_STOCK', reason: 'OUT_OF_STOCK' },
    });
  });

  it('answers an unavailable dependency and an unknown outcome with 503, and logs the reason instead of sending it', async () => {
    await startApp();
    const lines: string[] = [];
    vi.spyOn(Logger.prototype, 'warn').mockImplementation((line: string) => void lines.push(line));
    const answers = [await get('unavailable'), await get('unavailable'), await get('unknown'), await get('driver')];
    for (const answer of answers) expect(answer).toMatchObject({ status: 503, retryAfter: '2' });
    expect(JSON.stringify(answers)).not.toContain('broker-7');
    expect(answers[0]!.body.message).not.toBe(answers[2]!.body.message);
    expect(lines[0]).toBe('GET /orders/:error answered 503: cannot connect to broker-7');
    expect(lines).toHaveLength(3);
  });

  it("leaves Nest's own errors, the app's filters and bugs as they are", async () => {
    await startApp();
    expect(await get('invalid')).toMatchObject({ status: 400, body: { message: 'wrong field' } });
    expect(await get('range')).toMatchObject({ status: 418, body: { own: true } });
    expect(await get('bug')).toMatchObject({ status: 500, body: { message: 'Internal server error' } });
  });
});

it('a subclass decides the shape of the body', async () => {
  class ProblemDetails extends DtxExceptionFilter {
    protected override bodyOf({ type, status, detail }: ErrorAnswer) {
      return { type, status, detail };
    }
  }
  await start(Plain, (made) => made.useGlobalFilters(new ProblemDetails(made.get(HttpAdapterHost))));
  const { body } = await get('rejected');
  expect(body).toEqual({ type: 'urn:nest-dtx:refused', status: 409, detail: 'OUT_OF_STOCK' });
});

it('a transport other than HTTP gets the error itself', async () => {
  const filter = new DtxExceptionFilter(new HttpAdapterHost());
  const error = new Rejected('OUT_OF_STOCK');
  const hostOf = (type: string) => ({ getType: () => type }) as unknown as ArgumentsHost;
  const answer = filter.catch(error, hostOf('rpc'));
  expect(isObservable(answer)).toBe(true);
  await expect(lastValueFrom(answer!)).rejects.toBe(error);
  expect(() => filter.catch(error, hostOf('graphql'))).toThrow(error);
});
