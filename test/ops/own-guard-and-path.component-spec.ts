import { type CanActivate, type ExecutionContext, Global, Injectable, Module, VersioningType } from '@nestjs/common';
import { APP_GUARD, Reflector } from '@nestjs/core';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LittleService, libraryOf, type ServiceOptions } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';

const library = libraryOf();
const TOKEN = 'the admin token';

/** A provider of the service that its guard needs. */
@Injectable()
class Staff {
  isOperator(name: string | undefined): boolean {
    return name === 'alice';
  }
}

@Module({ providers: [Staff], exports: [Staff] })
class StaffModule {}

@Injectable()
class OperatorsOnly implements CanActivate {
  constructor(private readonly staff: Staff) {}

  canActivate(context: ExecutionContext): boolean {
    return this.staff.isOperator(context.switchToHttp().getRequest().headers['x-user']);
  }
}
Reflect.defineMetadata('design:paramtypes', [Staff], OperatorsOnly);

/** A guard of all routes of the service, which lets probes pass. */
@Injectable()
class SignedIn implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    if (context.getType() !== 'http') return true;
    const targets = [context.getHandler(), context.getClass()];
    const endpoint = this.reflector.getAllAndOverride(library.DTX_ENDPOINT, targets);
    return endpoint === 'health' || endpoint === 'metrics';
  }
}
Reflect.defineMetadata('design:paramtypes', [Reflector], SignedIn);

@Global()
@Module({ providers: [{ provide: APP_GUARD, useClass: SignedIn }] })
class GuardedModule {}

let sandbox: Sandbox;
let service: LittleService;
let url: string;

beforeAll(async () => {
  sandbox = await freshSandbox('own_guard_and_path', { audited: false });
});
afterEach(() => service?.close());

type OpsOptions = Parameters<typeof library.OpsModule.forRoot>[0];

const start = (ops: OpsOptions, imports: Array<typeof GuardedModule> = []) =>
  startWith([library.OpsModule.forRoot(ops), ...imports]);

async function startWith(
  imports: ServiceOptions['imports'],
  configure: ServiceOptions['configure'] = () => {},
): Promise<void> {
  service = await LittleService.start({ sandbox, library, imports, configure });
  await service.app.listen(0, '127.0.0.1');
  url = await service.app.getUrl();
}

const statusOf = async (path: string, headers: Record<string, string> = {}) =>
  (await fetch(`${url}${path}`, { headers })).status;
const bearer = { authorization: `Bearer ${TOKEN}` };

describe('OpsModule', () => {
  test('serves the operations API under /dtx behind the admin token if no other path or guard is given', async () => {
    await start({ adminToken: TOKEN });
    for (const path of ['/dtx/summary', '/dtx/alerts', '/dtx/transactions']) {
      expect([path, await statusOf(path)]).toEqual([path, 401]);
      expect([path, await statusOf(path, bearer)]).toEqual([path, 200]);
    }
    expect([await statusOf('/health/live'), await statusOf('/health/ready'), await statusOf('/metrics')]).toEqual([
      200, 200, 200,
    ]);
  });

  test('serves the operations API under `path` only', async () => {
    await start({ adminToken: TOKEN, path: '/internal/transactions-of-dtx' });
    const paths = ['/summary', '/alerts', '/transactions'];
    for (const path of paths) expect(await statusOf(`/internal/transactions-of-dtx${path}`, bearer)).toBe(200);
    for (const path of paths) expect(await statusOf(`/dtx${path}`, bearer)).toBe(404);
  });

  test('serves the operations API under `path` with the token of a factory', async () => {
    const useFactory = async () => ({ adminToken: TOKEN });
    await startWith([library.OpsModule.forRootAsync({ path: 'internal', endpoints: ['operations'], useFactory })]);
    expect(await statusOf('/internal/summary')).toBe(401);
    expect(await statusOf('/internal/summary', bearer)).toBe(200);
    expect(await statusOf('/health/live')).toBe(404);
  });

  test('asks the `guard` of the app, with its injected providers, in place of the admin token', async () => {
    await start({ guard: OperatorsOnly, imports: [StaffModule] });
    for (const path of ['/dtx/summary', '/dtx/alerts']) {
      expect(await statusOf(path)).toBe(403);
      expect(await statusOf(path, { 'x-user': 'mallory', ...bearer })).toBe(403);
      expect(await statusOf(path, { 'x-user': 'alice' })).toBe(200);
    }
    expect(await statusOf('/health/ready')).toBe(200);
  });

  test('serves only the chosen `endpoints`, and needs no admin token without the operations API', async () => {
    await start({ endpoints: ['health'] });
    expect(await statusOf('/health/live')).toBe(200);
    for (const path of ['/metrics', '/dtx/summary', '/dtx/alerts']) expect(await statusOf(path)).toBe(404);
    expect(service.get(library.Metrics)).toBeNull();
  });

  test('marks its routes, so that a global guard of the app can let probes and scrapes pass', async () => {
    await start({ adminToken: TOKEN }, [GuardedModule]);
    expect([await statusOf('/health/live'), await statusOf('/metrics')]).toEqual([200, 200]);
    expect(await statusOf('/dtx/summary', bearer)).toBe(403);
  });

  test('keeps its paths in an app whose routes have a version by default', async () => {
    await startWith([library.OpsModule.forRoot({ adminToken: TOKEN, corsOrigins: ['https://ops.example'] })], (app) =>
      app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' }),
    );
    const paths = ['/health/live', '/health/ready', '/metrics', '/dtx/summary', '/dtx/alerts'];
    for (const path of paths) expect([path, await statusOf(path, bearer)]).toEqual([path, 200]);
    const headers = { origin: 'https://ops.example', ...bearer };
    const answer = await fetch(`${url}/dtx/summary`, { headers });
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://ops.example');
  });

  test.each(['', ' a-token-behind-a-space', 'a-token-with-a-line-break\n', 'ein-tökén-mit-umlauten'])(
    'refuses the admin token %j, which no header carries unchanged',
    (adminToken) => {
      expect(() => library.OpsModule.forRoot({ adminToken })).toThrow(/^ops\.adminToken: must be ASCII without spaces/);
    },
  );

  test('refuses an admin token beside a guard, which replaces it', () => {
    expect(() => library.OpsModule.forRoot({ adminToken: TOKEN, guard: OperatorsOnly })).toThrow(/leave out one/);
  });
});
