import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { expect, onTestFinished, test } from 'vitest';
import { EventStream } from '../fixtures/event-stream.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
/** One more than the streams of one process. */
const DISCONNECTS = 101;
const entered = { count: 0 };
const passed = { count: 0 };

/** A slow guard. It passes a request with the header `x-leaves` after the client has disconnected. */
@Injectable()
class SlowGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<IncomingMessage & { readonly raw?: IncomingMessage }>();
    if (!request.headers['x-leaves']) return true;
    entered.count++;
    await once((request.raw ?? request).socket, 'close');
    passed.count++;
    return true;
  }
}

test.each(['fastify', 'express'] as const)(
  'clients that disconnect before the guard has passed take no place of a stream on %s',
  async (adapter) => {
    const sandbox = await freshSandbox(`ops_events_after_disconnect_${adapter}`, { audited: false });
    const imports = [library.OpsModule.forRoot({ guard: SlowGuard })];
    const service = await LittleService.start({ sandbox, library, imports, adapter });
    onTestFinished(() => service.close());
    await service.app.listen(0, '127.0.0.1');
    const url = `${await service.app.getUrl()}/dtx/events`;
    entered.count = passed.count = 0;

    const leaving = new AbortController();
    const options = { headers: { 'x-leaves': '1' }, signal: leaving.signal };
    const left = Array.from({ length: DISCONNECTS }, () => fetch(url, options).catch(() => {}));
    await until('every request waits in the guard', () => entered.count === DISCONNECTS);
    leaving.abort();
    await Promise.all(left);
    await until('the guard has passed every request', () => passed.count === DISCONNECTS);

    const stream = await EventStream.open(url, {});
    onTestFinished(() => stream.close());
    expect(stream.response.status).toBe(200);
    await stream.next('hello');
  },
);
