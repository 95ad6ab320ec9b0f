import { describe, expect, it } from 'vitest';
import { databaseOptions, problemOfDatabaseUrl } from './database-options.js';

const URL = 'mysql://app:secret@db.example:3307/shop';
const sslOf = (query: string) => databaseOptions(`${URL}?${query}`).ssl;

describe('the options of a database in its URL', () => {
  it('are its address alone where there is no query', () => {
    const address = { host: 'db.example', port: 3307, username: 'app', password: 'secret', database: 'shop' };
    expect(databaseOptions(URL)).toEqual({ ...address, extra: {} });
  });

  it('say by ssl how the connection is encrypted', () => {
    expect(sslOf('ssl=true')).toEqual({ rejectUnauthorized: true });
    expect(sslOf('ssl=false')).toBeUndefined();
    expect(sslOf('ssl={"rejectUnauthorized":false}')).toEqual({ rejectUnauthorized: false });
    expect(sslOf(`ssl=${encodeURIComponent('{"ca":"a b","minVersion":"TLSv1.3"}')}`)).toEqual({
      ca: 'a b',
      minVersion: 'TLSv1.3',
    });
  });

  it.each([
    ['sslmode=DISABLED', undefined],
    ['sslmode=REQUIRED', { rejectUnauthorized: false }],
    ['ssl-mode=required', { rejectUnauthorized: false }],
    ['sslMode=VERIFY_CA', { rejectUnauthorized: true }],
    ['sslmode=verify-full', { rejectUnauthorized: true, verifyIdentity: true }],
    ['sslmode=VERIFY_IDENTITY', { rejectUnauthorized: true, verifyIdentity: true }],
  ])('say it by %s as well', (query, ssl) => {
    expect(sslOf(query)).toEqual(ssl);
  });

  it('reach the driver by their names, with numbers and truth values as such', () => {
    const { extra } = databaseOptions(`${URL}?connectTimeout=700&compress=true&socketPath=/run/x.sock`);
    expect(extra).toEqual({ connectTimeout: 700, compress: true, socketPath: '/run/x.sock' });
  });

  it.each(['ssl=yes', 'ssl=[1]', 'sslmode=PREFERRED', 'timezone=local', 'multipleStatements=true', 'user=root'])(
    'are refused as %s, without a word of the password',
    (query) => {
      expect(problemOfDatabaseUrl(`${URL}?${query}`)).toMatch(/^must (not )?have /);
      expect(problemOfDatabaseUrl(`${URL}?${query}`)).not.toContain('secret');
    },
  );
});
