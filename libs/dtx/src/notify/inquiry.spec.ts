import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Database } from '../core/database/database.service.js';
import type { BackgroundTask, BackgroundWork } from '../core/durable/background-work.js';
import { DatabaseUnavailable } from '../core/errors/errors.js';
import { coreOptions } from '../core/options.js';
import { type Inquiries, Inquiry } from './inquiry.js';
import { notifyOptions } from './options.js';

type Answer = (response: ServerResponse, id: string) => void;

const known: Answer = (response, id) => response.end(JSON.stringify({ id }));
const status =
  (code: number): Answer =>
  (response) =>
    response.writeHead(code).end();
const reset: Answer = (response) => response.destroy();
/** Two times as many ids as are asked for at the same time, and some more. */
const ids = Array.from({ length: 20 }, (_, n) => `id-${String(n).padStart(2, '0')}`);
const BAD = 9;

describe('a round of inquiries', () => {
  let server: Server;
  let answer: Answer;
  let asked: string[];
  let kept: string[];
  let lines: string[];

  beforeEach(async () => {
    [asked, kept, lines] = [[], [], []];
    answer = known;
    server = createServer((request, response) => {
      const id = decodeURIComponent(request.url!.slice(1));
      asked.push(id);
      answer(response, id);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const log = (line: string) => void lines.push(line);
    vi.spyOn(Logger.prototype, 'warn').mockImplementation(log);
    vi.spyOn(Logger.prototype, 'error').mockImplementation(log);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  /** Runs one round of inquiries for the ids, whose methods may be replaced. */
  async function round(given: Partial<Inquiries> = {}): Promise<void> {
    let task: BackgroundTask | undefined;
    const background = { isContinuous: false, register: (one: BackgroundTask) => (task = one) };
    const core = coreOptions.parse({ app: 'order', rabbitmqUrl: 'amqp://localhost', handlerTimeoutMs: 1_000 });
    const options = notifyOptions.parse({ service: 'payment', callTimeoutMs: 2_000 });
    const inquiry = new Inquiry({} as Database, background as unknown as BackgroundWork, core, options);
    inquiry.start({
      name: 'payments',
      missing: async () => ids,
      urlOf: (id) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${encodeURIComponent(id)}`,
      keep: async (id) => void kept.push(id),
      none: async () => {},
      ...given,
    });
    await task!.runOnce(new AbortController().signal);
  }

  const isBad = (id: string) => ids.indexOf(id) < BAD;
  const good = ids.filter((id) => !isBad(id));
  const of = (id: string) => lines.filter((line) => line.includes(` for ${id} `));

  it('asks for the ids behind one whose result cannot be stored, and logs that id', async () => {
    const keep = async (id: string) => {
      if (id === ids[0]) throw new Error('not a result');
      kept.push(id);
    };
    await round({ keep });
    expect(kept.toSorted()).toEqual(ids.slice(1));
    expect(lines).toEqual(['inquiry "payments" for id-00 failed, retrying: keep: not a result']);
  });

  it('asks for the ids behind those whose result fails at once, is late, or meets an unavailable database', async () => {
    const failures: Record<string, () => Promise<void>> = {
      'id-00': () => {
        throw new Error('at once');
      },
      'id-01': () => new Promise(() => {}),
      'id-02': () => Promise.reject(new DatabaseUnavailable('cannot store', new Error('gone'))),
    };
    await round({ keep: async (id) => failures[id]?.() ?? void kept.push(id) });
    expect(kept.toSorted()).toEqual(ids.slice(3));
    expect(of('id-00')).toEqual([expect.stringContaining('keep: at once')]);
    expect(of('id-01')).toEqual([expect.stringContaining('keep of the inquiries payments has not ended')]);
    expect(of('id-02')).toEqual([expect.stringContaining('keep: cannot store: gone')]);
  });

  it('asks for the ids behind those whose 404 answer fails in `none`', async () => {
    answer = (response, id) => (isBad(id) ? status(404) : known)(response, id);
    await round({ none: () => Promise.reject(new Error('no order')) });
    expect(kept.toSorted()).toEqual(good);
    expect(of('id-00')).toEqual([expect.stringContaining('none: no order')]);
  });

  it.each<[string, Answer, string]>([
    ['with status 500', status(500), 'answered 500'],
    ['with a redirect', status(302), 'answered 302'],
    ['without a result', (response) => response.end('<html>'), 'answered 200 with an unreadable result'],
    [
      'with a result that breaks off',
      (response) => {
        response.writeHead(200, { 'content-length': 99 });
        response.write('{', () => response.destroy());
      },
      'answered 200 with an unreadable result',
    ],
  ])('asks for the ids behind those that the target answers %s', async (_, wrong, text) => {
    answer = (response, id) => (isBad(id) ? wrong : known)(response, id);
    await round();
    expect(kept.toSorted()).toEqual(good);
    expect(of('id-00')).toEqual([expect.stringContaining(text)]);
  });

  it('asks for the ids behind those without a URL', async () => {
    const urlOf = (id: string) => {
      if (isBad(id)) throw new Error('no merchant');
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/${id}`;
    };
    await round({ urlOf });
    expect(kept.toSorted()).toEqual(good);
    expect(of('id-00')).toEqual([expect.stringContaining('urlOf: no merchant')]);
  });

  it('ends after the first ids if the target answers none of them', async () => {
    answer = reset;
    await round();
    expect(asked).toHaveLength(8);
    expect(lines).toHaveLength(8);
  });

  it('asks the other targets if one answers none of the first ids', async () => {
    const gone = createServer((_, response) => response.destroy());
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const portOf = (one: Server) => (one.address() as AddressInfo).port;
    await round({ urlOf: (id) => `http://127.0.0.1:${portOf(isBad(id) ? gone : server)}/${id}` });
    gone.close();
    expect(kept.toSorted()).toEqual(good);
    // The ninth id of the silent target is not asked for.
    expect(lines).toHaveLength(8);
  });

  it('goes on if the target answers one of the first ids', async () => {
    answer = (response, id) => (id === 'id-07' ? status(500) : reset)(response, id);
    await round();
    expect(asked).toHaveLength(16);
  });

  it('logs a bounded number of failures of one step, and the number of all', async () => {
    answer = (response, id) => (id === 'id-19' ? known : status(500))(response, id);
    await round({ keep: () => Promise.reject(new Error('not a result')) });
    expect(lines.filter((line) => line.includes('answered 500'))).toHaveLength(8);
    expect(of('id-19')).toEqual([expect.stringContaining('keep: not a result')]);
    expect(lines.at(-1)).toBe('inquiry "payments": 11 more ids failed in this round, retrying');
  });

  it('logs an id that could end a line or control a terminal in printable form', async () => {
    answer = status(500);
    await round({ missing: async () => ['id\n\u001b[2J'] });
    expect(lines).toEqual(['inquiry "payments" for id\\x0a\\x1b[2J failed, retrying: answered 500']);
  });
});
