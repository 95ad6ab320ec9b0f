import { Controller, Injectable, type Type } from '@nestjs/common';
import {
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  Transport,
} from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { DataSource, type EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../fixtures/free-port.js';
import { contractOf, controllerOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until, untilPassed } from '../../fixtures/until.js';
import {
  append,
  closeAll,
  closing,
  createHttp,
  library,
  moduleOf,
  STARTS,
  startContext,
  stateOf,
  untilHandled,
} from './applications.js';

const first = contractOf(library, 'first');
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('mounting', { audited: false });
});
afterEach(closeAll);

function handlers(seen: string[]): Type {
  @Injectable()
  class Handlers {
    @library.OnMessage(first)
    async on(tx: EntityManager, { gid }: { gid: string }) {
      await tx.query('SELECT 1');
      seen.push(gid);
    }
  }
  return Handlers;
}

describe('handlers', () => {
  test.each(Object.entries(STARTS))('of a provider handle messages in %s', async (_, start) => {
    const seen: string[] = [];
    const app = await start(moduleOf(sandbox, { providers: [handlers(seen)] }));
    const gid = await append(app, first);
    await untilHandled(sandbox, gid);
    expect(seen).toEqual([gid]);
  });

  test('of a controller handle messages, also after the deprecated connectDtx', async () => {
    const seen: string[] = [];
    const Handlers = handlers(seen);
    Controller()(Handlers);
    const app = await createHttp(moduleOf(sandbox, { controllers: [Handlers] }));
    library.connectDtx(app);
    await app.startAllMicroservices();
    await app.init();
    const gid = await append(app, first);
    await untilHandled(sandbox, gid);
    expect(seen).toEqual([gid]);
  });

  test('of another transport and of the library stay apart', async () => {
    const seen: string[] = [];
    const events: unknown[] = [];
    @Controller()
    class Mine {
      @EventPattern('user.created')
      on(@Payload() event: unknown) {
        events.push(event);
      }
      @MessagePattern('sum')
      sum(@Payload() [a, b]: number[]) {
        return a! + b!;
      }
      @MessagePattern('tcp only', Transport.TCP)
      tcpOnly() {
        return 'tcp';
      }
      @library.OnMessage(first)
      async handle(_: EntityManager, { gid }: { gid: string }) {
        seen.push(gid);
      }
    }
    const app = await createHttp(moduleOf(sandbox, { controllers: [Mine] }));
    const options = { host: '127.0.0.1', port: await freePort() };
    const tcp = app.connectMicroservice<MicroserviceOptions>({ transport: Transport.TCP, options });
    await app.startAllMicroservices();
    await app.init();
    const client = closing(ClientProxyFactory.create({ transport: Transport.TCP, options }));
    const gid = await append(app, first);
    await untilHandled(sandbox, gid);
    expect(await firstValueFrom(client.send('sum', [1, 2]))).toBe(3);
    expect(await firstValueFrom(client.send('tcp only', ''))).toBe('tcp');
    await firstValueFrom(client.emit('user.created', { id: 7 }));
    await until('the event arrives', () => events.length > 0);
    expect([seen, events]).toEqual([[gid], [{ id: 7 }]]);
    const mounted: { serverInstance?: { getHandlers(): Map<string, unknown> } } = tcp as never;
    expect([...(mounted.serverInstance?.getHandlers().keys() ?? [])].sort()).toEqual([
      'sum',
      'tcp only',
      'user.created',
    ]);
  });

  test('are not mounted with consumers: false, and another instance takes their messages', async () => {
    const seen: Record<'api' | 'worker', string[]> = { api: [], worker: [] };
    const shared = contractOf(library, 'unserved');
    // Wrong for an instance with consumers: its contract belongs to another app.
    const foreign = contractOf(library, 'foreign', { app: 'inventory' });
    const astray = controllerOf([[library.OnMessage(foreign), async () => {}]]);
    const api = await startContext(
      moduleOf(sandbox, { providers: [handlers(seen.api), astray], core: { consumers: false } }),
    );
    const waits = await append(api, shared);
    const gid = await append(api, first);
    await startContext(moduleOf(sandbox, { providers: [handlers(seen.worker)] }));
    await untilHandled(sandbox, gid);
    expect(seen).toEqual({ api: [], worker: [gid] });
    expect(await stateOf(sandbox, waits)).toBeUndefined();
    expect(api.get(library.Broker).consumerProblems()).toEqual([]);
  });

  test('that cannot be mounted stop the start before the database is opened', async () => {
    const foreign = contractOf(library, 'elsewhere', { app: 'inventory' });
    const module = moduleOf(sandbox, { providers: [controllerOf([[library.OnMessage(foreign), async () => {}]])] });
    const app = await createHttp(module);
    await expect(app.init()).rejects.toThrow(
      /@OnMessage\(test\.elsewhere v1\) on Made\.method0 .*no consumer in app payment/,
    );
    // A database that was opened in the background would be open by then.
    await untilPassed(performance.now(), 1_000);
    expect(app.get(DataSource).isInitialized).toBe(false);
  });
});
