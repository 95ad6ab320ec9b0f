import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBrokerUrls, problemOfBrokerUrls } from './broker-urls.js';
import { OptionsError } from './errors/errors.js';

const SECRET = 's3cr3t';
const NODE_1 = `amqp://app:${SECRET}@mq1/shop`;
const nodes = (count: number) => Array.from({ length: count }, (_, n) => `amqp://app:${SECRET}@mq${n}/shop`);

describe('the URLs of a broker', () => {
  it.each([
    ['one URL', NODE_1, ['mq1']],
    ['a text with commas', 'amqp://mq1/shop, amqp://mq2:5673/shop', ['mq1', 'mq2']],
    ['a list', ['amqp://mq1', 'amqp://guest:guest@mq2/%2F'], ['mq1', 'mq2']],
    ['a list with a text with commas', ['amqp://mq1,amqp://mq2', 'amqp://mq3'], ['mq1', 'mq2', 'mq3']],
    ['sixteen nodes', nodes(16).join(), nodes(16).map((_, n) => `mq${n}`)],
  ])('may be %s', (_, given, hosts) => {
    expect(parseBrokerUrls(given).map(({ host }) => host)).toEqual(hosts);
    expect(problemOfBrokerUrls(given)).toBeNull();
  });

  it('keep every character of user, password and virtual host, also the comma', () => {
    const any = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    // The URL standard removes a path of dots.
    const anyPath = any.filter((text) => !/^\.{1,2}$/.test(text));
    fc.assert(
      fc.property(any, any, anyPath, fc.integer({ min: 1, max: 16 }), (user, password, path, count) => {
        const [u, p, v] = [user, password, path].map(encodeURIComponent);
        const list = Array.from({ length: count }, (_, n) => `amqp://${u}:${p}@mq${n}/${v}`);
        const expected = list.map((_, n) => ({ host: `mq${n}`, user, password, path }));
        expect(parseBrokerUrls(list)).toMatchObject(expected);
        expect(parseBrokerUrls(list.join())).toMatchObject(expected);
      }),
    );
  });

  it.each<[string | string[], RegExp]>([
    ['', /^must be a URL like amqp:/],
    [[], /^must be a URL or a list of URLs: the list is empty$/],
    [`http://app:${SECRET}@mq1/shop`, /^must be a URL like amqp:.* protocol must be amqp or amqps$/],
    [`${NODE_1},`, /^number 2 of 2 must be a URL like .* cannot be read/],
    [
      `${NODE_1},redis://app:${SECRET}@mq2`,
      /^number 2 of 2 must be .* protocol must be amqp or amqps; a comma in .*%2C$/,
    ],
    [`amqp://app:${SECRET},${SECRET}@mq1/shop`, /^number 1 of 2 must be a URL like .*; a comma in user, password or/],
    [`amqp://app:${SECRET}@mq1/sh,op`, /^number 2 of 2 must be a URL like .*; a comma in user, password or/],
    [nodes(17), /^must be at most 16 URLs: it has 17/],
    [`${NODE_1},amqp://app:${SECRET}@MQ1:5672/shop`, /^number 2 of 2 has the same host and port as number 1/],
    [`${NODE_1},amqp://app:${SECRET}@mq2/other`, /^number 2 of 2 has another virtual host than number 1/],
    [`${NODE_1},amqp://other:${SECRET}@mq2/shop`, /^number 2 of 2 has another user than number 1/],
    [`${NODE_1},amqp://app:x${SECRET}@mq2/shop`, /^number 2 of 2 has another password than number 1/],
    [`${NODE_1},amqps://app:${SECRET}@mq2/shop`, /^number 2 of 2 has another protocol than number 1/],
    [`${NODE_1},${NODE_1.replace('mq1', 'mq2')}?frameMax=8192`, /^number 2 of 2 has other options than number 1/],
    [`amqp://mq1/shop,amqp://app:${SECRET}@mq2/shop`, /^number 2 of 2 has another user than number 1/],
  ])('are rejected with one line that names the URL by its number and omits the values: %j', (given, why) => {
    expect(() => parseBrokerUrls(given)).toThrow(OptionsError);
    const problem = problemOfBrokerUrls(given);
    expect(problem).toMatch(why);
    expect(problem).not.toMatch(/s3cr3t|mq\d|\n/i);
  });
});
