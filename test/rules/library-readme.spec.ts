import { describe, expect, test } from 'vitest';
import { read, repositoryUrl, tracked } from './repository-texts.js';

/**
 * The README of the package, which is the only page that npm shows. Its example apps are those of `examples/`, which a test
 * compiles and starts. Its tables of defaults and of database tables are compared with their sources.
 */
const PAGES = ['libs/dtx/README.md', 'libs/dtx/README-zh-CN.md'];
const examples = tracked(':(glob)examples/*/*.ts');
/** What a Nest application has before it installs the library. */
const PARTS_OF_NEST = ['@nestjs/common', '@nestjs/core', 'reflect-metadata', 'rxjs'];

/** The code blocks below a comment with the path of a file, by that path. */
const shownBy = (page: string) =>
  [...read(page).matchAll(/^<!-- (\S+) -->\n\n```ts\n([\s\S]*?)^```$/gm)].map(([, file, code]) => ({ file, code }));

describe.each(PAGES)('%s', (page) => {
  test('the page shows each example once', () => {
    const shown = shownBy(page).map(({ file }) => file);
    expect(shown.toSorted()).toEqual(examples);
  });

  test.each(examples)('the code of %s is the file, byte for byte', (example) => {
    expect(shownBy(page).find(({ file }) => file === example)?.code).toBe(read(example));
  });

  test('the links to GitHub lead to the repository of the package', () => {
    const links = [...read(page).matchAll(/\]\((https:\/\/github\.com\/[^)]+)\)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((link) => !/^[/#]/.test(link.replace(repositoryUrl(), '')))).toEqual([]);
  });

  test('the page names each table that a migration creates, and no other one', () => {
    const code = tracked(':(glob)libs/dtx/src/**/*.ts').map((file) => read(file));
    const created = code.flatMap((text) =>
      [...text.matchAll(/CREATE TABLE IF NOT EXISTS (dtx_\w+)/g)].map(([, name]) => name!),
    );
    const rows = read(page).match(/^\| `(?:\w+Module)\b.*\| .*$/gm)!;
    const named = rows.flatMap((row) => row.match(/\bdtx_\w+/g) ?? []);
    expect(named.toSorted()).toEqual([...new Set(created)].toSorted());
  });

  test('the page gives the defaults of docs/configuration.md', () => {
    const rows = [...read(page).matchAll(/^\| `(\w+Module)` \| `([\w.]+)` \| (.*?) \| /gm)];
    const given = rows.map(([, module, option, value]) => ({ module, option, value }));
    expect(given.length).toBeGreaterThan(20);
    expect(given).toEqual(given.map(({ module, option }) => ({ module, option, value: defaultOf(module!, option!) })));
  });

  test('the page installs each package that its examples and the library need', () => {
    const { peerDependencies, peerDependenciesMeta } = JSON.parse(read('libs/dtx/package.json'));
    const peers = Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional);
    const imported = examples.flatMap((example) =>
      [...read(example).matchAll(/from '((?:@[\w-]+\/)?[\w-]+)(?:\/[\w-]+)?'/g)].map(([, name]) => name!),
    );
    const installed = [...read(page).matchAll(/npm i ([^`#\n]+)/g)].flatMap(([, names]) => names!.trim().split(' '));
    const needed = [...new Set([...peers, ...imported])].filter((name) => !PARTS_OF_NEST.includes(name));
    expect(installed.toSorted()).toEqual(needed.toSorted());
  });
});

/** The default in the row of an option on the generated page, such as `5000` (5 s). */
function defaultOf(module: string, option: string): string | undefined {
  const lines = read('docs/configuration.md').split('\n');
  const section = lines.slice(lines.indexOf(`## \`${module}.forRoot\``) + 1);
  const next = section.findIndex((line) => line.startsWith('## '));
  const rows = section.slice(0, next === -1 ? undefined : next);
  return rows.find((line) => line.startsWith(`| \`${option}\` | `))?.split(' | ')[2];
}
