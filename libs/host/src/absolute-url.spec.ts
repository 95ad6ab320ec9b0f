import { describe, expect, it } from 'vitest';
import { absoluteUrl } from './absolute-url.js';
import type { HttpRequest } from './http-request-reply.js';

const request = (host: string, localAddress = '127.0.0.1', publicUrl?: string) =>
  ({ protocol: 'http', host, publicUrl, raw: { socket: { localAddress, localPort: 3001 } } }) as unknown as HttpRequest;

describe('absoluteUrl', () => {
  it.each([
    ['shop.example', 'http://shop.example/orders/1'],
    ['shop.example:8080', 'http://shop.example:8080/orders/1'],
    ['[::1]:3001', 'http://[::1]:3001/orders/1'],
  ])('uses the Host header %s', (host, url) => {
    expect(absoluteUrl(request(host), '/orders/1')).toBe(url);
  });

  it.each(['', 'a b', 'x/?"<>', 'x:99999'])('uses the address of the connection for the invalid Host %j', (host) => {
    expect(absoluteUrl(request(host), '/orders/1')).toMatch(/^http:\/\/(127\.0\.0\.1:3001|x)\/orders\/1$/);
    expect(absoluteUrl(request('', '::1'), '/orders/1')).toBe('http://[::1]:3001/orders/1');
  });

  it('uses the public URL for any Host header', () => {
    const given = request('evil.example', '127.0.0.1', 'https://shop.example/api');
    expect(absoluteUrl(given, '/orders/1')).toBe('https://shop.example/api/orders/1');
  });
});
