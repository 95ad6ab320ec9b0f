import { describe, expect, test } from 'vitest';
import { toProperties } from '../../libs/dtx/src/core/broker/envelope.js';
import { read, tracked } from '../rules/repository-texts.js';

/** docs/wire.md names all that the library puts on the wire. */
const page = read('docs/wire.md');
const sources = tracked(':(glob)libs/dtx/src/**/*.ts').filter((file) => !file.endsWith('.spec.ts'));

describe('docs/wire.md', () => {
  const everything = {
    messageId: 'id',
    type: 'order.placed.v1',
    gid: 'gid',
    scheme: 'local-message',
    replyTo: 'dtx.order.receipts.v1',
    traceparent: '00-0-0-01',
    madeAtMs: 1,
  };
  const { headers, persistent, ...properties } = toProperties(everything);

  test.each(Object.keys(properties))('the page has a row for the property %s', (name) => {
    expect(page).toContain(`| \`${name}\` |`);
  });

  test.each(Object.keys(headers as object))('the page has a row for the header %s', (name) => {
    expect(page).toContain(`| header \`${name}\` |`);
  });

  test('messages are persistent, as the page says', () => {
    expect(persistent).toBe(true);
    expect(page).toContain('Messages are persistent');
  });

  test('the page has a row for each type of the library', () => {
    const types = sources.flatMap((file) =>
      [...read(file).matchAll(/'(dtx\.[a-z-]+\.v\d+)'/g)].map(([, type]) => type!),
    );
    expect(types.length).toBeGreaterThan(3);
    expect(types.filter((type) => !page.includes(`| \`${type}\` |`))).toEqual([]);
  });
});
