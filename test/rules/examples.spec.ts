import { describe, expect, test } from 'vitest';
import { read, tracked } from './repository-texts.js';

/** Lines of an app without imports, contracts, entities, comments and empty lines. */
const LINES_MAX = 39;
const examples = tracked(':(glob)examples/*/*.ts');

const NOT_COUNTED = [
  /^import [\s\S]*?;\n/gm,
  /^@Entity[\s\S]*?\}\n/gm,
  /^(?:export )?const \w+ = define(?:Message|Participant|Step|Signal|Saga)\([\s\S]*?\);\n/gm,
  /^\s*\/\/.*\n/gm,
];

test('there is an example of each scheme', () => {
  const folders = new Set(examples.map((file) => file.split('/')[1]));
  const schemes = ['confirmed-publish', 'half-message', 'local-message', 'notification', 'saga', 'tcc', 'xa'];
  expect([...folders].sort()).toEqual(schemes);
});

describe.each(examples)('%s', (file) => {
  test(`has at most ${LINES_MAX} lines besides imports, contracts and entities`, () => {
    const rest = NOT_COUNTED.reduce((text, pattern) => text.replace(pattern, ''), read(file));
    expect(rest.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(LINES_MAX);
  });

  test('imports only what an app of a stranger can import', () => {
    const names = [...read(file).matchAll(/from '([^']+)'/g)].map(([, name]) => name!);
    const known = /^(\.\/[\w.-]+\.js|node:\w+|nest-dtx(\/[\w-]+)?|@nestjs\/[\w-]+|typeorm|zod)$/;
    expect(names.filter((name) => !known.test(name))).toEqual([]);
  });
});
