import { describe, expect, it } from 'vitest';
import { serverUrlParts } from './server-url.js';

describe('the URL of a server', () => {
  it.each([
    ['mysql://r%C3%B6%C3%B6t:p%40s@[::1]:3307', { host: '::1', port: 3307, user: 'rööt', password: 'p@s', path: '' }],
    ['mariadb://h/', { protocol: 'mariadb', host: 'h', port: 3306, path: '' }],
    ['mysql://h/shop?ssl=true', { path: 'shop', query: { ssl: 'true' } }],
    ['amqp://dtx:1@h:5673', { port: 5673, path: '' }],
    ['rediss://:pw@[2001:db8::7]/3', { protocol: 'rediss', host: '2001:db8::7', port: 6379, path: '3' }],
  ])('is read into its decoded parts, and a database server needs no path: %s', (text, parts) => {
    expect(serverUrlParts(text)).toMatchObject(parts);
  });

  it.each(['nothing', 'postgres://h/shop', 'mysql:///shop', 'mysql://u:1#2@h', 'mysql://u:1/2@h', 'amqp://u:%zz@h/v'])(
    'is rejected if it cannot be read: %s',
    (text) => {
      expect(() => serverUrlParts(text)).toThrow(/must be a URL like/);
    },
  );
});
