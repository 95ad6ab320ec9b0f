import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectBroker } from 'amqplib';
import { Redis } from 'ioredis';
import { createConnection } from 'mysql2/promise';
import { describe, expect, test } from 'vitest';
import { placeOf } from '../../tools/src/infra-files.js';
import { pidOf } from '../../tools/src/process/detached-processes.js';
import { servers } from '../fixtures/sandbox.js';

const DATABASES = ['order', 'payment', 'inventory'] as const;

/** Servers given by URL have accounts of their own. */
const ours = (kind: 'databases' | 'rabbitmq' | 'redis') => servers().way[kind] !== 'url';

describe('a server of ours refuses a client without its password', () => {
  test('Redis', async () => {
    const url = new URL(servers().redis);
    url.password = '';
    const redis = new Redis(url.href, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
    redis.on('error', () => {});
    const answers = await Promise.allSettled([redis.ping(), redis.config('GET', 'dir'), redis.dbsize()]);
    redis.disconnect();
    const reasons = answers.map((one) => (one.status === 'rejected' ? String(one.reason) : 'answered'));
    if (ours('redis')) for (const reason of reasons) expect(reason).toMatch(/NOAUTH|Authentication required/);
  });

  test('RabbitMQ, under its usual account as well, and its management', async () => {
    if (!ours('rabbitmq')) return;
    for (const [user, password] of [
      ['guest', 'guest'],
      ['dtx', ''],
      ['dtx', 'dtx'],
    ] as const) {
      const url = new URL(servers().rabbitmq);
      Object.assign(url, { username: user, password });
      await expect(connectBroker(url.href)).rejects.toThrow(/ACCESS[_-]REFUSED|403|closed/i);
      const headers = { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
      const { origin } = new URL(servers().management);
      expect((await fetch(`${origin}/api/overview`, { headers })).status).toBe(401);
      expect((await fetch(`${origin}/api/overview`)).status).toBe(401);
    }
  });

  test.each(DATABASES)('the database server of %s, under each of its accounts', async (app) => {
    if (!ours('databases')) return;
    const url = servers().databases[app];
    const admin = await createConnection(url);
    const [accounts] = await admin.query('SELECT DISTINCT User AS user FROM mysql.user');
    const [[{ data }]] = (await admin.query('SELECT @@datadir AS data')) as unknown as [[{ data: string }]];
    await admin.end();
    const { hostname, port } = new URL(url);
    const ways = [{ host: hostname, port: Number(port) }, { socketPath: join(data, 'mysqld.sock') }];
    const users = new Set(['', 'root', ...(accounts as Array<{ user: string }>).map(({ user }) => user)]);
    for (const user of users) {
      for (const way of ways) {
        const login = createConnection({ ...way, user, password: '' }).then((connection) => connection.end());
        await expect(login, `${user} by ${JSON.stringify(way)}`).rejects.toThrow(/denied|locked|ENOENT/i);
      }
    }
  });
});

describe('a server of ours', () => {
  const running = (server: string, label = server) => pidOf(join(placeOf('test'), server), label);

  test('that needs no rights has none, although root has started it', () => {
    const isRoot = process.getuid?.() === 0;
    for (const pid of [running('redis'), running('rabbitmq', 'epmd')].filter((one) => one !== null)) {
      const uid = Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
      expect(uid === 0).toBe(false);
      if (!isRoot) expect(uid).toBe(process.getuid?.());
    }
  });

  test('listens to this machine alone', async () => {
    const urls = [...DATABASES.map((app) => servers().databases[app]), servers().rabbitmq, servers().redis];
    const ports = urls.map((url) => Number(new URL(url).port));
    for (const port of ports) {
      const answers = await new Promise<boolean>((resolve) => {
        const socket = connect({ host: '127.0.0.2', port, timeout: 1_000 });
        const end = (is: boolean) => {
          socket.destroy();
          resolve(is);
        };
        socket
          .once('connect', () => end(true))
          .once('error', () => end(false))
          .once('timeout', () => end(false));
      });
      expect(answers, `port ${port}`).toBe(false);
    }
  });

  test('keeps what it makes for a moment in its own folder', () => {
    const place = placeOf('test');
    for (const server of DATABASES.filter((one) => running(one) !== null)) {
      expect(readFileSync(join(place, server, 'my.cnf'), 'utf8')).toContain(`tmpdir=${join(place, server, 'tmp')}`);
    }
  });
});
