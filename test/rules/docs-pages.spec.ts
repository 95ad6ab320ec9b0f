import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { durableTables } from '../../libs/dtx/src/testing/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { CHINESE, read, repositoryUrl, tracked } from './repository-texts.js';

/** The pages against the code: links, commands, tables, failpoints and the pairs of languages. */
const pages = tracked('*.md');
const SCHEME_PAGES = ['local-message', 'xa', 'tcc', 'saga', 'half-message', 'confirmed-publish', 'notification'];
const LANGUAGES = ['.md', '.zh-CN.md'];
/** The root of this repository in the links of the package's README. npm shows that page without the repository. */
const ONLINE = `${repositoryUrl()}/blob/main/`;
const code = tracked(':(glob)libs/dtx/src/**/*.ts')
  .map((file) => read(file))
  .join('\n');
/** How GitHub names the anchor of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');

describe.each(pages)('the page %s', (page) => {
  const text = read(page);

  test('the links into the repository lead to a file and a heading', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link!)
      .filter((link) => link.startsWith(ONLINE) || !/^https?:/.test(link));
    const broken = links.filter((link) => {
      const [path = '', anchor] = link.replace(ONLINE, '').split('#');
      const folder = link.startsWith(ONLINE) ? '.' : dirname(page);
      const file = path === '' ? page : normalize(join(folder, path));
      if (!existsSync(join(ROOT, file))) return true;
      const headings = anchor ? [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!)) : [];
      return anchor !== undefined && !headings.includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});

test.each(pages.filter((page) => /^(README|docs\/)/.test(page)))(
  '%s names only commands that package.json has',
  (page) => {
    const { scripts } = JSON.parse(read('package.json'));
    const commands = [...read(page).matchAll(/npm run ([a-z][\w:-]*)/g)].map(([, command]) => command!);
    expect(commands.filter((command) => !(command in scripts))).toEqual([]);
  },
);

test('docs/states.md has a section or a row for every table that a migration creates', () => {
  const states = read('docs/states.md');
  const tables = new Set([...code.matchAll(/CREATE TABLE IF NOT EXISTS (dtx_\w+)/g)].map(([, name]) => name!));
  expect(tables.size).toBeGreaterThan(10);
  const isNamed = (table: string) => states.includes(`\n## ${table}\n`) || states.includes(`\n| \`${table}\` |`);
  expect([...tables].filter((table) => !isNamed(table))).toEqual([]);
});

test.each(durableTables)(
  'docs/states.md draws the open and the final states of $name',
  ({ name, openStates, finalState }) => {
    const section =
      read('docs/states.md')
        .split(/^## /m)
        .find((text) => text.startsWith(`${name}\n`)) ?? '';
    const edges = [...section.matchAll(/^ {2}(\S+) --> (\w+|\[\*\]): /gm)].map(([, from, to]) => [from!, to!] as const);
    const states = new Set(edges.flat().filter((state) => state !== '[*]'));
    const isFinal = (state: string) =>
      edges.every(([from, to]) => from !== state || to === '[*]') ||
      edges.some(([from, to]) => from === state && to === '[*]');
    expect([...states].filter((state) => !isFinal(state)).toSorted()).toEqual([...openStates].toSorted());
    expect([...states].filter((state) => !code.includes(`'${state}'`))).toEqual([]);
    const finals = [...finalState.matchAll(/(?<!= )'(\w+)'/g)].map(([, state]) => state!);
    expect([...states].filter(isFinal)).toEqual(expect.arrayContaining(finals));
  },
);

describe.each(SCHEME_PAGES.flatMap((page) => LANGUAGES.map((ending) => `docs/schemes/${page}${ending}`)))(
  '%s',
  (page) => {
    test('the steps are numbered from 1, and the crash points are the failpoints of the scheme', () => {
      const text = read(page);
      const steps = /\n## (?:Steps|步骤)\n([\s\S]*?)\n(?:\||## )/.exec(text)?.[1] ?? '';
      const numbers = [...steps.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
      expect(numbers.length).toBeGreaterThan(1);
      expect(numbers).toEqual(numbers.map((_, index) => index + 1));
      const named = [...text.matchAll(/^\| `([a-z-]+\.[a-z-]+)` \|/gm)].map(([, name]) => name!);
      const known = allFailpoints().map(({ name }) => name);
      const scheme = known.find((name) => named.includes(name))?.split('.')[0];
      expect(named.toSorted()).toEqual(known.filter((name) => name.startsWith(`${scheme}.`)).toSorted());
    });
  },
);

describe.each(pages.filter((page) => CHINESE.test(page)))('%s', (page) => {
  const english = page.replace(CHINESE, '.md');

  test('the page has the code, the sections and the table rows of its English page', () => {
    expect(outlineOf(page)).toEqual(outlineOf(english));
  });
});

/** What two languages have in common: code without its comments and notes, levels of headings, sizes of tables. */
function outlineOf(page: string) {
  const [text, ...code] = [
    read(page).replace(/```[\s\S]*?```/g, ''),
    ...read(page).matchAll(/```(?:sh|ts)\n([\s\S]*?)```/g),
  ];
  const bare = (block: string) => block.replace(/"note":"[^"]*"/g, '').replace(/ *(#|\/\/) .*$/gm, '');
  return {
    code: code.map(([, block]) => bare(block!)),
    headings: [...text.matchAll(/^(#+) /gm)].map(([, level]) => level!.length),
    steps: [...text.matchAll(/^(\d+)\. /gm)].length,
    rows: [...text.matchAll(/^\|/gm)].length,
  };
}
