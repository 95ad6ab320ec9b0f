import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readEnv } from './env.js';

const least = {
  DTX_DATABASE_URL: 'mysql://root:s3cr3t@127.0.0.1:3306/shop',
  DTX_RABBITMQ_URL: 'amqp://user:s3cr3t@127.0.0.1:5672/shop',
};
const read = (more: Record<string, string | undefined> = {}) => readEnv({ ...least, ...more }, { port: 3001 });

describe('readEnv', () => {
  it('uses defaults for optional variables', () => {
    const env = read({ DTX_REDIS_URL: '', PORT: '' });
    expect(env).toMatchObject({ port: 3001, host: '127.0.0.1', production: false, adminTokenIsNew: true });
    expect(env.redisUrl).toBeUndefined();
    const sections = {
      core: {},
      localMessage: {},
      tcc: {},
      saga: {},
      xa: {},
      halfMessage: {},
      reliableMessage: {},
      notify: {},
    };
    expect(env.options).toEqual(sections);
    expect(read().adminToken).not.toBe(env.adminToken);
  });

  it('reads the given variables', () => {
    const given = { PORT: '0', NODE_ENV: 'production', DTX_ADMIN_TOKEN: 'a-token-of-24-characters' };
    const env = read({ ...given, DTX_OPTIONS: '{"localMessage":{"attemptsMax":3}}' });
    expect(env).toMatchObject({
      port: 0,
      host: '0.0.0.0',
      adminToken: 'a-token-of-24-characters',
      adminTokenIsNew: false,
    });
    const sections = { core: {}, tcc: {}, saga: {}, xa: {}, halfMessage: {}, reliableMessage: {}, notify: {} };
    expect(env.options).toEqual({ ...sections, localMessage: { attemptsMax: 3 } });
  });

  it('reads the apps of the console', () => {
    expect(read().consoleApps).toEqual([]);
    expect(read({ DTX_CONSOLE_APPS: 'a=http://127.0.0.1:1/dtx, b=https://b.example/x' }).consoleApps).toEqual([
      { name: 'a', url: 'http://127.0.0.1:1/dtx' },
      { name: 'b', url: 'https://b.example/x' },
    ]);
  });

  it.each([
    ['DTX_CONSOLE_APPS', 'payment'],
    ['DTX_CONSOLE_APPS', 'payment=ftp://127.0.0.1/dtx'],
    ['DTX_CONSOLE_APPS', 'payment=http://user:pass@127.0.0.1/dtx'],
    ['DTX_CONSOLE_APPS', 'a b=http://127.0.0.1/dtx'],
    ['DTX_ORDER_EXPIRY_MS', '999'],
    ['DTX_ORDER_EXPIRY_MS', '34560000001'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '3001x'],
    ['PORT', '1e3'],
    ['PORT', 'http'],
    ['DTX_DATABASE_URL', undefined],
    ['DTX_DATABASE_URL', ''],
    ['DTX_DATABASE_URL', 'root:s3cr3t@127.0.0.1/shop'],
    ['DTX_DATABASE_URL', 'postgres://root:s3cr3t@127.0.0.1/shop'],
    ['DTX_DATABASE_URL', 'mysql://root:s3cr3t@127.0.0.1:3306'],
    ['DTX_DATABASE_URL', 'mysql://root:s3cr3t%zz@127.0.0.1/shop'],
    ['DTX_RABBITMQ_URL', undefined],
    ['DTX_RABBITMQ_URL', 'http://user:s3cr3t@127.0.0.1'],
    ['DTX_RABBITMQ_URL', ''],
    ['DTX_RABBITMQ_URL', 'amqp://user:s3cr3t,x@127.0.0.1/shop'],
    ['DTX_RABBITMQ_URL', 'amqp://user:s3cr3t@mq1/shop,amqp://user:s3cr3t@mq2/other'],
    ['DTX_RABBITMQ_URL', 'amqp://user:s3cr3t%zz@127.0.0.1/shop'],
    ['DTX_REDIS_URL', 's3cr3t'],
    ['DTX_REDIS_URL', 's3cr3t:6379'],
    ['DTX_ALERT_WEBHOOK', 'ftp://user:s3cr3t@host'],
    ['DTX_ALERT_WEBHOOK', 'https://user:s3cr3t@host/alerts'],
    ['DTX_NOTIFY_URL', 's3cr3t'],
    ['DTX_OPTIONS', '{"core":{"rabbitmqUrl":"s3cr3t"}}'],
    ['DTX_ADMIN_TOKEN', 's3cr3t with spaces'],
    ['DTX_OPTIONS', '{s3cr3t}'],
    ['DTX_OPTIONS', '["s3cr3t"]'],
    ['DTX_OPTIONS', 'null'],
    ['DTX_OPTIONS', '{"local":{}}'],
    ['DTX_OPTIONS', '{"core":"s3cr3t"}'],
    ['DTX_XA_PAYMENT_DATABASE_URL', 's3cr3t'],
    ['DTX_TRUST_PROXY', 's3cr3t'],
    ['DTX_TRUST_PROXY', 'true'],
    ['DTX_TRUST_PROXY', '10.0.0.0/33'],
    ['DTX_TRUST_PROXY', '10.0.0.0/0'],
    ['DTX_PUBLIC_URL', 'shop.example'],
    ['DTX_PUBLIC_URL', 'https://user:s3cr3t@shop.example'],
    ['DTX_PUBLIC_URL', 'https://shop.example/?s3cr3t'],
    ['DTX_ADMIN_TOKEN_FILE', '/nowhere/s3cr3t'],
    ['DTX_NOTIFY_SECRET_FILE', '/dev/null'],
    ['DTX_NOTIFY_SECRET', 'whsec_s3cr3t!!!!!!!!'],
    ['DTX_NOTIFY_SECRET', 'a-secret-of-sufficient-length whsec_s3cr3t'],
  ])('refuses %s = %j in one line that names the variable without its value', (variable, value) => {
    expect(() => read({ [variable]: value })).toThrow(new RegExp(`^${variable} is (missing|wrong): [^\n]+$`));
    expect(() => read({ [variable]: value })).not.toThrow(/s3cr3t/);
  });

  it('reads several nodes of one broker', () => {
    const nodes = 'amqp://user:s3cr3t@mq1/shop,amqp://user:s3cr3t@mq2/shop';
    expect(read({ DTX_RABBITMQ_URL: nodes }).rabbitmqUrl).toBe(nodes);
  });

  it('reads the trusted proxies and the public URL', () => {
    expect(read()).toMatchObject({ trustProxy: [], publicUrl: undefined });
    const env = read({ DTX_TRUST_PROXY: '10.0.0.0/8, ::1,loopback', DTX_PUBLIC_URL: 'https://shop.example/api/' });
    expect(env).toMatchObject({ trustProxy: ['10.0.0.0/8', '::1', 'loopback'], publicUrl: 'https://shop.example/api' });
  });

  it('reads a secret from the file that the variable with _FILE names, unless the variable itself is set', () => {
    const folder = mkdtempSync(join(tmpdir(), 'env-'));
    const file = join(folder, 'secret');
    writeFileSync(file, 'a-token-from-a-file-1\n');
    const files = { DTX_ADMIN_TOKEN_FILE: file, DTX_NOTIFY_SECRET_FILE: file };
    const fromFile = { adminToken: 'a-token-from-a-file-1', notifySecrets: ['a-token-from-a-file-1'] };
    expect(read(files)).toMatchObject({ ...fromFile, adminTokenIsNew: false });
    expect(read({ ...files, DTX_ADMIN_TOKEN: 'given', DTX_NOTIFY_SECRET: '' })).toMatchObject({
      ...fromFile,
      adminToken: 'given',
    });
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['DTX_ADMIN_TOKEN', 'x'],
    ['DTX_ADMIN_TOKEN', 'fifteen-letters'],
    ['DTX_ADMIN_TOKEN', 'demo-admin-token'],
    ['DTX_NOTIFY_SECRET', 'demo-notify-secret'],
    ['DTX_NOTIFY_SECRET', 'one-that-nobody-knows demo-notify-secret'],
  ])('refuses %s = %j only in production, since it is short or published', (variable, value) => {
    const production = { NODE_ENV: 'production', DTX_ADMIN_TOKEN: 'a-token-of-24-characters' };
    expect(() => read({ ...production, [variable]: value })).toThrow(new RegExp(`^${variable} is wrong: [^\n]+$`));
    expect(() => read({ ...production, [variable]: value })).not.toThrow(new RegExp(`: .*${value}`));
    expect(() => read({ [variable]: value })).not.toThrow();
  });

  it('requires a token and refuses failpoints in production', () => {
    expect(() => read({ NODE_ENV: 'production' })).toThrow(/^DTX_ADMIN_TOKEN is missing/);
    const production = { NODE_ENV: 'production', DTX_ADMIN_TOKEN: 'a-token-of-24-characters' };
    expect(() => read({ ...production, DTX_FAILPOINTS: 'x=crash' })).toThrow(/^DTX_FAILPOINTS is set/);
    expect(() => read({ ...production, DTX_FAILPOINTS: 'crash' })).toThrow(/^DTX_FAILPOINTS is set/);
  });
});
