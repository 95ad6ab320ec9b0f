import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** The table of waits in `docs/operations.md`, and the options that it names with their defaults. */
const page = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8');
const folders: Record<string, string> = { reliableMessage: 'confirmed-publish' };
const lists: Record<string, string> = {
  xa: 'xaOptions',
  tcc: 'tccOptions',
  saga: 'sagaOptions',
  notify: 'notifyOptions',
  ops: 'opsOptions',
  reliableMessage: 'confirmedPublishOptions',
  localMessage: 'localMessageOptions',
  halfMessage: 'halfMessageOptions',
};

/** Values of options without a default. */
const required: Record<string, object> = {
  core: { app: 'a', rabbitmqUrl: 'amqp://h' },
  notify: { service: 'a' },
  ops: { adminToken: 'a' },
};

const rows = page
  .split('\n')
  .filter((line) => /^\|.*\|$/.test(line) && /`[\w.]+` \|$/.test(line))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  .map(([wait = '', bound = '', , option = '']) => ({ wait, bound, option: option.replaceAll('`', '') }));

async function defaultOf(option: string): Promise<unknown> {
  const path = option.split('.');
  const section = lists[path[0]!] ? path.shift()! : undefined;
  const folder = section?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const file = section ? `${folders[section] ?? folder}/options.ts` : 'core/options.ts';
  const schemas = await import(join(ROOT, 'libs', 'dtx', 'src', file));
  const given = required[section ?? 'core'] ?? {};
  const options = schemas[section ? lists[section]! : 'coreOptions'].parse(given);
  return path.reduce((value, key) => value?.[key], options);
}

test('the page of waits names more than twelve options', () => {
  expect(rows.length).toBeGreaterThan(12);
});

test.each(rows)('the page gives the default of $option as the bound of "$wait"', async ({ bound, option }) => {
  const known = await defaultOf(option);
  expect(known, `${option} is not an option, or has no default`).toBeTypeOf('number');
  expect(Number(/\d+/.exec(bound)?.[0])).toBe(known);
});
