import { expect, test } from 'vitest';
import { copyOfJson } from './json-copy.js';

const TEXTS = [
  'null',
  '0',
  '"text"',
  '[]',
  '{}',
  '[1,[2,{"a":[null,true]}],"b"]',
  '{"a":{"b":[{"c":1}]},"__proto__":{"d":[2]},"constructor":3,"toString":null}',
];

test.each(TEXTS)('a copy of %s is equal', (text) => {
  const copy = copyOfJson(JSON.parse(text));
  expect(JSON.stringify(copy)).toBe(text);
  expect(copy).toEqual(structuredClone(JSON.parse(text)));
});

test('a change of the copy changes no part of the original', () => {
  const original = JSON.parse('{"list":[{"n":1}],"__proto__":{"n":1}}');
  const copy = copyOfJson(original);
  copy.list[0].n = 2;
  copy.list.push(3);
  Object.getOwnPropertyDescriptor(copy, '__proto__')!.value.n = 2;
  expect(JSON.stringify(original)).toBe('{"list":[{"n":1}],"__proto__":{"n":1}}');
});

test('a key __proto__ does not change the prototype', () => {
  const copy = copyOfJson(JSON.parse('{"__proto__":{"isAdmin":true}}'));
  expect([Object.getPrototypeOf(copy), copy.isAdmin]).toEqual([Object.prototype, undefined]);
});
