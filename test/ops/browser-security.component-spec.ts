import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';

const library = libraryOf();
const TOKEN = 'the admin token';
const LISTED = 'https://ops.example';
let sandbox: Sandbox;
let service: LittleService;
let url: string;

/** Knows its users by a cookie, which a browser also sends with a form of another site. */
@Injectable()
class ByCookie implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.switchToHttp().getRequest().headers.cookie === 'user=alice';
  }
}

beforeAll(async () => {
  sandbox = await freshSandbox('ops_browsers', { audited: false });
});
afterEach(() => service?.close());

async function start(ops: Parameters<typeof library.OpsModule.forRoot>[0]): Promise<void> {
  service = await LittleService.start({ sandbox, library, imports: [library.OpsModule.forRoot(ops)] });
  await service.app.listen(0, '127.0.0.1');
  url = `${await service.app.getUrl()}/dtx`;
}
const bearer = (token = TOKEN) => ({ authorization: `Bearer ${token}` });

describe('origins', () => {
  const corsOf = async (origin: string, init: RequestInit = {}, path = '/summary') => {
    const response = await fetch(`${url}${path}`, { ...init, headers: { ...bearer(), origin, ...init.headers } });
    return [response.status, response.headers.get('access-control-allow-origin')];
  };
  const preflight = { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST', authorization: '' } };

  test('a listed origin may read answers and ask what it may send, also without a token', async () => {
    await start({ adminToken: TOKEN, corsOrigins: [LISTED] });
    expect(await corsOf(LISTED)).toEqual([200, LISTED]);
    expect(await corsOf(LISTED, { headers: bearer('wrong') })).toEqual([401, LISTED]);
    expect(await corsOf(LISTED, preflight, '/transactions/x/retry')).toEqual([204, LISTED]);
    const answer = await fetch(`${url}/events`, { ...preflight, headers: { ...preflight.headers, origin: LISTED } });
    expect(answer.headers.get('access-control-allow-headers')).toMatch(/authorization.*dtx-operator.*last-event-id/);
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test.each([
    'https://evil.example',
    'https://ops.example.evil.example',
    'http://ops.example',
    'null',
    `${LISTED}:8443`,
  ])('the origin %s gets no permission', async (origin) => {
    await start({ adminToken: TOKEN, corsOrigins: [LISTED] });
    expect(await corsOf(origin)).toEqual([200, null]);
    expect((await corsOf(origin, preflight, '/transactions/x/retry'))[1]).toBeNull();
  });

  test('without a list no origin gets permission', async () => {
    await start({ adminToken: TOKEN });
    expect(await corsOf(LISTED)).toEqual([200, null]);
    expect((await corsOf(LISTED, preflight))[1]).toBeNull();
  });

  test.each(['*', 'https://ops.example/', 'https://ops.example/path', 'ops.example', 'ftp://ops.example', ''])(
    'the option refuses %s',
    (origin) => {
      expect(() => library.OpsModule.forRoot({ adminToken: TOKEN, corsOrigins: [origin] })).toThrow(
        /^ops\.corsOrigins\.0: expected an origin/,
      );
    },
  );
});

/** The types that a form can send. */
const FORM_TYPES = { 'application/x-www-form-urlencoded': 403, 'multipart/form-data': 415, 'text/plain': 403 };

describe('a write by a form of another site', () => {
  const write = async (headers: Record<string, string>, body?: string) =>
    (await fetch(`${url}/transactions/unknown/retry`, { method: 'POST', headers, ...(body && { body }) })).status;
  const cookie = 'user=alice';

  test('is refused, even if the guard of the app knows the user, and passes with a header that no form sends', async () => {
    await start({ guard: ByCookie });
    // Fastify refuses multipart bodies itself.
    for (const [type, status] of Object.entries(FORM_TYPES))
      expect([type, await write({ cookie, 'content-type': type })]).toEqual([type, status]);
    expect(await write({ cookie })).toBe(403);
    expect(await write({ cookie, authorization: 'Basic YTpi' })).toBe(403);
    // The control: such a write passes, and the id is unknown.
    expect(await write({ cookie, 'dtx-operator': 'alice' })).toBe(404);
    expect(await write({ cookie, 'content-type': 'application/json' }, '{}')).toBe(404);
    expect((await fetch(`${url}/summary`, { headers: { cookie } })).status).toBe(200);
    expect(await write({ 'dtx-operator': 'alice' })).toBe(403);
  });
});

describe('the console', () => {
  const statusOf = async (path: string) => (await fetch(`${url}${path}`)).status;

  test('is served without a token, and not if the option or the endpoints leave it out', async () => {
    await start({ adminToken: TOKEN });
    expect(await statusOf('/console')).toBe(200);
    await service.close();
    await start({ adminToken: TOKEN, console: false });
    expect(await statusOf('/console')).toBe(404);
    await service.close();
    await start({ endpoints: ['health'] });
    expect(await statusOf('/console')).toBe(404);
  });

  test('may call the listed apps, and no others', async () => {
    await start({ adminToken: TOKEN, consoleApps: [{ name: 'other', url: `${LISTED}/api/dtx` }] });
    const policy = (await fetch(`${url}/console`)).headers.get('content-security-policy');
    expect(policy).toContain(`connect-src 'self' ${LISTED};`);
    expect((await (await fetch(`${url}/topology`, { headers: bearer() })).json()) as object).toMatchObject({
      apps: [{ name: 'other', url: `${LISTED}/api/dtx` }],
    });
  });

  test.each(['not a url', 'ftp://x/dtx', 'https://user:pass@x/dtx'])('refuses an app at %s', (at) => {
    const ops = { adminToken: TOKEN, consoleApps: [{ name: 'other', url: at }] };
    expect(() => library.OpsModule.forRoot(ops)).toThrow(/^ops\.consoleApps\.0\.url: expected an http/);
  });
});

describe('guesses of the token', () => {
  test('are answered 429 after wrongTokensMax of them, the right one included, and missing tokens do not count', async () => {
    await start({ adminToken: TOKEN, wrongTokensMax: 5 });
    const call = (headers: Record<string, string> = {}) => fetch(`${url}/summary`, { headers });
    for (let n = 0; n < 20; n++) expect((await call()).status).toBe(401);
    for (let n = 0; n < 5; n++) expect((await call(bearer(`guess ${n}`))).status).toBe(401);
    const refused = await call(bearer('guess'));
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await call(bearer())).status).toBe(429);
    expect((await call()).status).toBe(401);
  });

  test('do not keep operators out below the limit', async () => {
    await start({ adminToken: TOKEN, wrongTokensMax: 5 });
    const statusOf = async (token: string) => (await fetch(`${url}/summary`, { headers: bearer(token) })).status;
    for (let n = 0; n < 4; n++) expect(await statusOf('guess')).toBe(401);
    expect(await statusOf(TOKEN)).toBe(200);
  });
});
