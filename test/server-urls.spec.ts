import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseServerUrl, type ServerKind } from '../libs/dtx/src/core/server-url.js';
import { serverUrlParts } from '../scripts/infra/server-url.mjs';

/** The scripts run before the library is built, so they have a reader of their own. Neither may know a URL as another. */
const read = (reader: () => unknown) => {
  try {
    return reader();
  } catch {
    return 'refused';
  }
};
const both = (kind: ServerKind, text: string) => [
  read(() => serverUrlParts(text)),
  read(() => parseServerUrl(kind, text)),
];

describe('a URL of a server', () => {
  it.each<[ServerKind, string]>([
    ['database', 'mysql://r%C3%B6%C3%B6t:p%40s@[::1]:3307/shop?ssl=true'],
    ['database', 'mariadb://h/shop'],
    ['broker', 'amqp://h'],
    ['broker', 'amqps://u@h/a%2Fb'],
    ['redis', 'rediss://:pw@[2001:db8::7]/3'],
    ['redis', 'redis://h'],
  ])('the scripts and the library read the URL of a %s alike: %s', (kind, text) => {
    const [ofScripts, ofLibrary] = both(kind, text);
    expect(ofScripts).toEqual(ofLibrary);
    expect(ofScripts).toMatchObject({ host: expect.any(String) });
  });

  it.each<[ServerKind, string]>([
    ['database', 'nothing'],
    ['database', 'postgres://h/shop'],
    ['database', 'mysql:///shop'],
    ['broker', 'amqp://u:1#2@h/v'],
    ['broker', 'amqp://u:1?2@h/v'],
    ['broker', 'amqp://u:1/2@h/v'],
    ['broker', 'amqp://u:%zz@h/v'],
    ['broker', 'amqp://%e4@h/v'],
    ['redis', `redis://${'h'.repeat(5_000)}`],
  ])('the scripts and the library both refuse the URL of a %s: %s', (kind, text) => {
    expect(both(kind, text)).toEqual(['refused', 'refused']);
  });

  it('a URL with any user, password and path is the same to the scripts and to the library', () => {
    const any = fc.string({ unit: 'grapheme', maxLength: 12 });
    fc.assert(
      fc.property(any, any, any, fc.boolean(), (user, password, path, isEncoded) => {
        const [u, p, v] = isEncoded ? [user, password, path].map(encodeURIComponent) : [user, password, path];
        const [ofScripts, ofLibrary] = both('broker', `amqp://${u}:${p}@h/${v}`);
        expect(ofScripts).toEqual(ofLibrary);
      }),
    );
  });
});
