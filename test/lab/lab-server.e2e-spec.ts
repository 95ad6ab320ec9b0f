import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab } from '../../tools/src/commands/lab/lab.js';
import { callLab, LAB_TOKEN } from '../fixtures/lab-stand.js';

// A demo that is still starting: no app runs, and every refusal comes before an app would be needed.
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ token: LAB_TOKEN, port: 0 });
});
afterAll(() => lab?.close());

const call = (method: string, path: string, options?: Parameters<typeof callLab>[3]) =>
  callLab(lab.url, method, path, options);

/** `fetch` does not send a Host of the caller. */
function statusWithHost(host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(lab.url, { headers: { host } }, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end();
  });
}

describe('the server of the lab', () => {
  test('listens on the loopback, and its page has a strict policy and needs no token', async () => {
    expect(new URL(lab.url).hostname).toBe('127.0.0.1');
    const response = await fetch(lab.url);
    const html = await response.text();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
    expect(response.headers.get('content-security-policy')).not.toMatch(/unsafe|\*|https?:/);
    expect(html).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=|https?:\/\//);
    const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(html)?.[1];
    expect((await fetch(new URL(script!, lab.url))).headers.get('content-type')).toContain('javascript');
  });

  test.each(['/index.html', '/lab.html', '/assets/../../package.json', '/assets/%2e%2e/lab.html', '/x'])(
    'serves no file %s',
    async (path) => {
      expect((await call('GET', path)).status).toBe(404);
    },
  );

  test.each(['evil.example', '127.0.0.1.evil.example', '192.168.0.1:3000'])(
    'refuses the host name %s, which a page of another site can point at this machine',
    async (host) => {
      expect(await statusWithHost(host)).toBe(421);
    },
  );

  test('accepts the names of the loopback', async () => {
    for (const host of ['127.0.0.1:3000', 'localhost', '[::1]:3000']) expect(await statusWithHost(host)).toBe(200);
  });

  const paths: Array<[string, string]> = [
    ['GET', '/api/status'],
    ['GET', '/api/schemes'],
    ['POST', '/api/breaks'],
    ['POST', '/api/purchases'],
    ['GET', '/apps/order/dtx/transactions'],
    ['POST', '/apps/order/dtx/transactions/x/retry'],
  ];
  test.each(paths)('%s %s needs the token of the lab', async (method, path) => {
    const { status, body } = await call(method, path, { token: 'wrong' });
    expect([status, body.detail]).toEqual([401, 'send the token of the lab, which was printed at its start']);
    expect((await call(method, path)).status).not.toBe(401);
  });

  test('answers 429 after 30 wrong tokens, also to the right one', async () => {
    const other = await Lab.start({ token: LAB_TOKEN, port: 0 });
    try {
      expect((await callLab(other.url, 'GET', '/api/status')).status).toBe(200);
      for (let n = 0; n < 30; n++) await callLab(other.url, 'GET', '/api/status', { token: 'wrong' });
      expect((await callLab(other.url, 'GET', '/api/status')).status).toBe(429);
    } finally {
      await other.close();
    }
  });

  test('says that the demo is still starting', async () => {
    lab.note('fresh databases');
    expect((await call('GET', '/api/status')).body).toMatchObject({
      isServing: false,
      job: null,
      lines: ['fresh databases'],
    });
    const { status, body } = await call('POST', '/api/audits', { body: {} });
    expect([status, body.detail]).toEqual([503, expect.stringContaining('still starting')]);
  });

  test('lists every scheme with its crash points', async () => {
    const { schemes, purchases } = (await call('GET', '/api/schemes')).body as {
      schemes: Array<{ scheme: string; points: Array<{ name: string; disk: string }> }>;
      purchases: string[];
    };
    expect(purchases).toEqual(expect.arrayContaining(['local-message', 'xa', 'tcc', 'saga', 'half-message']));
    expect(schemes.map(({ scheme }) => scheme)).toEqual(expect.arrayContaining([...purchases, 'notify']));
    expect(schemes.flatMap(({ points }) => points).every(({ disk }) => disk.length > 0)).toBe(true);
  });
});

describe('the server of the lab refuses', () => {
  // Refusals of a body come only from a lab that serves. No app is called, so none has to run.
  let serving: Lab;
  beforeAll(async () => {
    serving = await Lab.start({ token: LAB_TOKEN, port: 0 });
    const nowhere = 'http://127.0.0.1:9';
    const urls = { order: nowhere, payment: nowhere, inventory: nowhere };
    const databases = {
      order: 'mysql://127.0.0.1:9/a',
      payment: 'mysql://127.0.0.1:9/b',
      inventory: 'mysql://127.0.0.1:9/c',
    };
    const sandbox = { name: 'none', databases, rabbitmq: 'amqp://127.0.0.1:9', management: nowhere, vhost: '/' };
    serving.serve({ urls, sandbox, adminToken: 'x', processes: null });
  });
  afterAll(() => serving?.close());
  const ask = (method: string, path: string, options?: Parameters<typeof callLab>[3]) =>
    callLab(serving.url, method, path, options);

  const good = { scheme: 'xa', buyerId: 'alice', sku: 'book', quantity: 1 };
  const bodies: Array<[string, string, unknown, string]> = [
    ['an unknown scheme', '/api/purchases', { ...good, scheme: 'magic' }, 'scheme is "magic"; expected one of'],
    ['a missing scheme', '/api/purchases', { ...good, scheme: undefined }, 'scheme is missing'],
    ['a quantity of text', '/api/purchases', { ...good, quantity: '1' }, 'quantity is "1"; expected a whole number'],
    ['no goods', '/api/purchases', { ...good, quantity: 0 }, 'quantity is 0'],
    ['a buyer that is a path', '/api/purchases', { ...good, buyerId: '../admin' }, 'buyerId is "../admin"'],
    ['a list', '/api/purchases', [], 'the body is []; send a JSON object'],
    ['null', '/api/comparisons', null, 'the body is null'],
    [
      'an unknown point',
      '/api/breaks',
      { point: 'xa.decide', mode: 'crash' },
      'unknown failpoint "xa.decide"; near it: xa.decided',
    ],
    ['a point that is a number', '/api/breaks', { point: 7, mode: 'crash' }, 'point is 7'],
    [
      'an unknown mode',
      '/api/breaks',
      { point: 'xa.decided', mode: 'explode' },
      'mode is "explode"; expected one of crash',
    ],
  ];
  test.each(bodies)('%s', async (_, path, body, detail) => {
    const answer = await ask('POST', path, { body });
    expect([answer.status, answer.body.detail]).toEqual([400, expect.stringContaining(detail)]);
  });

  test('text that is not JSON, a form, a huge body, an unknown path and a wrong method', async () => {
    const post = (options: Parameters<typeof callLab>[3]) => ask('POST', '/api/purchases', options);
    expect(await post({ body: '{"scheme":' })).toMatchObject({ status: 400, body: { detail: 'the body is not JSON' } });
    const form = { body: 'scheme=xa', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    expect((await post(form)).status).toBe(415);
    const huge = await post({ body: JSON.stringify({ ...good, buyerId: 'a'.repeat(1_000_000) }) });
    expect([huge.status, huge.body.detail]).toEqual([413, 'the body has more than 16384 bytes']);
    expect((await ask('GET', '/api/magic')).body.detail).toContain('unknown path /api/magic; known: GET /api/status');
    expect((await ask('GET', '/api/breaks')).body.detail).toBe('use POST /api/breaks');
    expect((await ask('GET', '/apps/magic/dtx/topology')).status).toBe(404);
    expect((await ask('GET', '/apps/order/health/live')).status).toBe(404);
    expect((await ask('GET', '/apps/order/dtx/../orders')).status).toBe(404);
  });

  test('a call for an app that does not run, with the reason', async () => {
    const { status, body } = await ask('GET', '/apps/order/dtx/topology');
    expect([status, body.detail]).toEqual([502, expect.stringContaining('the order app does not answer (')]);
  });

  test('a break where no process can be ended, with the reason', async () => {
    const { status, body } = await ask('POST', '/api/breaks', { body: { point: 'xa.decided', mode: 'crash' } });
    expect([status, body.detail]).toEqual([409, expect.stringContaining('run in containers')]);
    expect((await ask('GET', '/api/status')).body.whyNoBreaks).toBe(body.detail);
  });
});
