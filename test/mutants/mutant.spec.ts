import { expect, test } from 'vitest';
import { mutate } from './mutant.js';

const edit = { file: 'some.js', find: 'ack();', replace: '' };

test('an edit changes its one place, and what it writes is taken literally', () => {
  expect(mutate('commit(); ack();', edit)).toBe('commit(); ');
  expect(mutate('a', { file: 'some.js', find: 'a', replace: '$& $1 $$' })).toBe('$& $1 $$');
});

test.each([
  ['no place', 'commit();', 'some.js has 0 places'],
  ['two places', 'ack(); commit(); ack();', 'some.js has 2 places'],
])('an edit with %s in the build is refused: its mutant would be something else', (_, text, error) => {
  expect(() => mutate(text, edit)).toThrow(error);
});
