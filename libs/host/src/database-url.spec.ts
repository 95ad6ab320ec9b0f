import { describe, expect, it } from 'vitest';
import { databaseOptions, problemOfDatabaseUrl } from './database-url.js';

const URL = 'mysql://app:secret@db.example:3307/shop';
const sslOf = (query: string) => databaseOptions(`${URL}?${query}`).ssl;

describe('databaseOptions', () => {
  it('returns only the address of a URL without a query', () => {
    const address = { host: 'db.example', port: 3307, username: 'app', password: 'secret', database: 'shop' };
    expect(databaseOptions(URL)).toEqual({ ...address, extra: {} });
  });

  it('reads TLS options from `ssl`', () => {
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
  ])('reads the TLS mode from %s', (query, ssl) => {
    expect(sslOf(query)).toEqual(ssl);
  });

  it('passes other options to the driver by name, with numbers and booleans parsed', () => {
    const { extra } = databaseOptions(`${URL}?connectTimeout=700&compress=true&socketPath=/run/x.sock`);
    expect(extra).toEqual({ connectTimeout: 700, compress: true, socketPath: '/run/x.sock' });
  });

  it.each(['ssl=yes', 'ssl=[1]', 'sslmode=PREFERRED', 'timezone=local', 'multipleStatements=true', 'user=root'])(
    'refuses %s in a message without the password',
    (query) => {
      expect(problemOfDatabaseUrl(`${URL}?${query}`)).toMatch(/^must (not )?have /);
      expect(problemOfDatabaseUrl(`${URL}?${query}`)).not.toContain('secret');
    },
  );
});
