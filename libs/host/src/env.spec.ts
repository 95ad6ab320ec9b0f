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
    const sections = { core: {}, localMessage: {}, tcc: {}, xa: {}, halfMessage: {}, reliableMessage: {}, notify: {} };
    expect(env.options).toEqual(sections);
    expect(read().adminToken).not.toBe(env.adminToken);
  });

  it('reads the given variables', () => {
    const given = { PORT: '0', NODE_ENV: 'production', DTX_ADMIN_TOKEN: 'a-long-token' };
    const env = read({ ...given, DTX_OPTIONS: '{"localMessage":{"attemptsMax":3}}' });
    expect(env).toMatchObject({ port: 0, host: '0.0.0.0', adminToken: 'a-long-token', adminTokenIsNew: false });
    const sections = { core: {}, tcc: {}, xa: {}, halfMessage: {}, reliableMessage: {}, notify: {} };
    expect(env.options).toEqual({ ...sections, localMessage: { attemptsMax: 3 } });
  });

  it.each([
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
  ])('refuses %s = %j in one line that names the variable without its value', (variable, value) => {
    expect(() => read({ [variable]: value })).toThrow(new RegExp(`^${variable} is (missing|wrong): [^\n]+$`));
    expect(() => read({ [variable]: value })).not.toThrow(/s3cr3t/);
  });

  it('requires a token and refuses failpoints in production', () => {
    expect(() => read({ NODE_ENV: 'production' })).toThrow(/^DTX_ADMIN_TOKEN is missing/);
    const production = { NODE_ENV: 'production', DTX_ADMIN_TOKEN: 'a-long-token' };
    expect(() => read({ ...production, DTX_FAILPOINTS: 'x=crash' })).toThrow(/^DTX_FAILPOINTS is set/);
    expect(() => read({ ...production, DTX_FAILPOINTS: 'crash' })).toThrow(/^DTX_FAILPOINTS is set/);
  });
});
