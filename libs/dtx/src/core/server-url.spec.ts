import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OptionsError } from './errors/errors.js';
import { databaseAddress, parseServerUrl, problemOfServerUrl, type ServerKind } from './server-url.js';

const SECRET = 's3cr3t';

describe('the URL of a server', () => {
  it.each([
    ['database', 'mysql://root@db.example/shop', { host: 'db.example', port: 3306, user: 'root', path: 'shop' }],
    ['database', 'mariadb://[::1]:3307/shop', { protocol: 'mariadb', host: '::1', port: 3307, user: undefined }],
    ['database', 'mysql://h/shop?ssl=true&timezone=Z', { query: { ssl: 'true', timezone: 'Z' } }],
    ['database', 'mysql://h/sh%20op', { path: 'sh op' }],
    ['broker', 'amqp://h', { host: 'h', port: 5672, user: undefined, password: undefined, path: '' }],
    ['broker', 'amqps://h/', { port: 5671, path: '' }],
    ['broker', 'amqp://[2001:db8::7]/a%2Fb', { host: '2001:db8::7', path: 'a/b' }],
    ['broker', 'amqp://h//', { path: '/' }],
    ['broker', 'amqp://h/a%252f', { path: 'a%2f' }],
    ['redis', 'redis://:pw@h', { user: undefined, password: 'pw', port: 6379, path: '' }],
    ['redis', 'rediss://[::1]:6380/3', { protocol: 'rediss', host: '::1', port: 6380, path: '3' }],
  ] as const)('of a %s is read into parts: %s', (kind, text, parts) => {
    expect(parseServerUrl(kind, text)).toMatchObject(parts);
  });

  it('keeps every character of user, password and path', () => {
    const any = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    // The URL standard removes a path of dots.
    const anyPath = any.filter((text) => !/^\.{1,2}$/.test(text));
    fc.assert(
      fc.property(any, any, anyPath, (user, password, path) => {
        const [u, p, v] = [user, password, path].map(encodeURIComponent);
        expect(parseServerUrl('broker', `amqp://${u}:${p}@h/${v}`)).toMatchObject({ user, password, path });
      }),
    );
  });

  it.each<[ServerKind, string, RegExp]>([
    ['database', SECRET, /cannot be read/],
    ['database', `postgres://root:${SECRET}@h/shop`, /protocol must be mysql or mariadb/],
    ['database', `mysql://root:${SECRET}@h`, /path must be the name of a database/],
    ['database', `mysql://root:${SECRET}@h:99999/shop`, /cannot be read/],
    ['database', `mysql:///shop`, /has no host/],
    ['database', `mysql://root:1#${SECRET}@h/shop`, /percent-encoded/],
    ['database', `mysql://root:1?${SECRET}@h/shop`, /percent-encoded/],
    ['database', `mysql://root:1/${SECRET}@h/shop`, /percent-encoded/],
    ['broker', `amqp://dtx:${SECRET}%zz@h/shop`, /its password is not percent-encoded UTF-8/],
    ['broker', `amqp://dtx%e4:${SECRET}@h/shop`, /its user is not percent-encoded UTF-8/],
    ['broker', `amqp://dtx:${SECRET}@h/%e4`, /its path is not percent-encoded UTF-8/],
    ['redis', `redis://:${SECRET}@h/first`, /path must be the number of a database/],
    ['redis', `redis://:${SECRET}@${'h'.repeat(5_000)}`, /more than 4096 characters/],
  ])('of a %s is rejected with one line that gives the reason and omits the value: %s', (kind, text, why) => {
    expect(() => parseServerUrl(kind, text)).toThrow(OptionsError);
    const problem = problemOfServerUrl(kind, text);
    expect(problem).toMatch(why);
    expect(problem).toMatch(/^must be a URL like [^\n]+$/);
    expect(problem).not.toContain(SECRET);
  });

  it('becomes the options of a DataSource', () => {
    expect(databaseAddress('mysql://r%C3%B6%C3%B6t:p%40ss@[::1]:3307/shop')).toEqual({
      host: '::1',
      port: 3307,
      username: 'rööt',
      password: 'p@ss',
      database: 'shop',
    });
    expect(problemOfServerUrl('database', 'mysql://h/shop')).toBeNull();
  });
});
