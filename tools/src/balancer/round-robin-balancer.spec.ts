import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../cli/waits-and-progress.js';
import { Balancer } from './round-robin-balancer.js';

/** An instance of an app: a real HTTP server with its readiness. */
class App {
  readonly bodies: string[] = [];
  readonly addresses: unknown[] = [];
  isReady = true;
  /** Readiness checks so far, and how many of the next ones get no answer. */
  checks = 0;
  silent = 0;
  onCall: (answer: ServerResponse, call: IncomingMessage) => void = (answer) => answer.end(this.name);

  private constructor(
    readonly name: string,
    private readonly server: Server,
  ) {
    server.on('request', (call, answer) => this.#answer(call, answer));
  }

  static async start(name: string): Promise<App> {
    const app = new App(name, createServer());
    app.server.listen(0, '127.0.0.1');
    await once(app.server, 'listening');
    running.push(() => app.die());
    return app;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** As after a SIGKILL: the port refuses connections. */
  async die(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  async #answer(call: IncomingMessage, answer: ServerResponse): Promise<void> {
    if (call.url === '/health/ready') {
      this.checks++;
      if (this.silent-- > 0) return;
      return void answer.writeHead(this.isReady ? 200 : 503).end();
    }
    this.addresses.push(call.headers['x-forwarded-for']);
    this.bodies.push(Buffer.concat(await call.toArray()).toString());
    this.onCall(answer, call);
  }
}

const running: Array<() => Promise<void>> = [];
afterEach(() => Promise.all(running.splice(0).map((stop) => stop())));

/** With checks so rare that only a failed call takes an instance out, or so frequent that a test can wait for one. */
async function balance(apps: App[], { checkEveryMs = 3_600_000, checkLimitMs = 2_000, answerMs = 10_000 } = {}) {
  const instances = apps.map(({ url }) => url);
  const balancer = await Balancer.start({ port: 0, instances, checkEveryMs, checkLimitMs, answerMs });
  running.push(() => balancer.stop());
  const url = `http://127.0.0.1:${balancer.port}`;
  const post = (body: string, headers = {}) => fetch(`${url}/orders?a=1`, { method: 'POST', body, headers });
  return { post, textOf: async (body: string) => (await post(body)).text(), url, balancer };
}

const pair = () => Promise.all([App.start('one'), App.start('two')]);

describe('Balancer', () => {
  it('gives each ready instance every second call, with its body and the address of the caller', async () => {
    const [one, two] = await pair();
    const { textOf, post } = await balance([one, two]);
    const answers = [await textOf('a'), await textOf('b'), await textOf('c'), await textOf('d')];
    expect(answers).toEqual(['one', 'two', 'one', 'two']);
    expect([one.bodies, two.bodies]).toEqual([
      ['a', 'c'],
      ['b', 'd'],
    ]);
    await post('e', { 'x-forwarded-for': '203.0.113.9' });
    expect(one.addresses).toEqual(Array(3).fill('127.0.0.1'));
  });

  it('tries a call whose connection was refused at the next instance, with all of its body', async () => {
    const [one, two] = await pair();
    const { textOf } = await balance([one, two]);
    await one.die();
    const body = 'x'.repeat(3_000_000);
    expect([await textOf(body), await textOf('second')]).toEqual(['two', 'two']);
    expect(two.bodies).toEqual([body, 'second']);
  });

  it('never repeats a call that was sent, and answers 502', async () => {
    const [one, two] = await pair();
    for (const app of [one, two]) app.onCall = (_, call) => call.socket.resetAndDestroy();
    const { post } = await balance([one, two]);
    const answer = await post('take the money');
    expect(answer.status).toBe(502);
    expect(((await answer.json()) as { detail: string }).detail).toMatch(/^sent to an instance that did not answer: /);
    expect([...one.bodies, ...two.bodies]).toEqual(['take the money']);
  });

  it('answers 502 for an instance that stays silent, within its bound', async () => {
    const one = await App.start('one');
    one.onCall = () => {};
    const { post } = await balance([one], { answerMs: 200 });
    expect((await post('a')).status).toBe(502);
  });

  it('sends no new call to a draining instance, whose calls in flight are answered', async () => {
    const [one, two] = await pair();
    let finish: (() => void) | undefined;
    one.onCall = (answer) => {
      finish = () => answer.end('finished');
      one.onCall = (later) => later.end('one');
    };
    const { textOf } = await balance([one, two], { checkEveryMs: 20 });
    const inFlight = textOf('in flight');
    await until(() => finish, { boundMs: 5_000, everyMs: 10 });
    one.isReady = false;
    await until(async () => (await textOf('probe')) === 'two' && (await textOf('probe')) === 'two', { boundMs: 5_000 });
    const before = one.bodies.length;
    const answers = await Promise.all(Array.from({ length: 6 }, () => textOf('new')));
    expect(answers).toEqual(Array(6).fill('two'));
    expect(one.bodies).toHaveLength(before);
    finish?.();
    expect(await inFlight).toBe('finished');
  });

  it('keeps an instance that is slow to answer two checks, and drops one that answers none of three', async () => {
    const one = await App.start('one');
    const { post, textOf } = await balance([one], { checkEveryMs: 20, checkLimitMs: 500 });
    const seen = one.checks;
    one.silent = 2;
    while (one.checks <= seen + 2) expect(await textOf('a')).toBe('one');
    one.silent = Number.POSITIVE_INFINITY;
    await until(async () => (await post('b')).status === 503, { boundMs: 5_000, everyMs: 10 });
    one.silent = 0;
    expect(await until(async () => (await post('c')).status === 200, { boundMs: 5_000, everyMs: 10 })).toBe(true);
  });

  it('answers 503 with Retry-After while no instance is ready, and goes on when one is', async () => {
    const [one, two] = await pair();
    two.isReady = false;
    const { post, textOf } = await balance([one, two], { checkEveryMs: 20 });
    await one.die();
    const refusal = await post('a');
    expect([refusal.status, refusal.headers.get('retry-after')]).toEqual([503, '1']);
    two.isReady = true;
    expect(await until(async () => (await textOf('b')) === 'two', { boundMs: 5_000 })).toBe(true);
  });

  it('drops the call to an instance when its caller has gone', async () => {
    const one = await App.start('one');
    let isDropped = false;
    one.onCall = (answer) => answer.once('close', () => (isDropped = true));
    const { url } = await balance([one]);
    const gone = new AbortController();
    const call = fetch(url, { signal: gone.signal }).catch((error: Error) => error.name);
    await until(() => one.bodies.length > 0, { boundMs: 5_000, everyMs: 10 });
    gone.abort();
    expect(await call).toBe('AbortError');
    expect(await until(() => isDropped, { boundMs: 5_000, everyMs: 10 })).toBe(true);
  });
});
