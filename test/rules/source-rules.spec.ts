import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** The house's rules as a test: which way arrows run, and how long things are. */
const FILE_LINES_MAX = 250;
const FUNCTION_LINES_MAX = 60;
const BANNED_NAMES = /(^|[-./])(utils?|common|helpers?|misc)([-./]|$)/;

const product = [...files('libs'), ...files('apps'), ...files('tools')].filter((file) => file.endsWith('.ts'));
const sources = product.filter((file) => !file.endsWith('.spec.ts'));
const scripts = files('scripts');
const tests = files('test').filter((file) => file.endsWith('.ts'));

function files(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(dist|node_modules)\//.test(file));
}

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

/** Every import of a file, as a path from the root or a package name. */
function importsOf(file: string): string[] {
  const found = [...read(file).matchAll(/(?:from|import)\s+'([^']+)'/g)].map((match) => match[1]!);
  return found.map((name) => (name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), name)) : name));
}

/** apps -> libs/shop -> libs/host -> libs/dtx/<scheme> -> libs/dtx/core; each rule names who may not import what. */
const rules: Array<[string, RegExp, RegExp]> = [
  ['the core imports no scheme and no operations', /^libs\/dtx\/src\/core\//, /^libs\/dtx\/src\/(?!core\/)/],
  [
    'no scheme imports a scheme',
    /^libs\/dtx\/src\/(local-message|half-message|confirmed-publish|tcc|saga|xa|notify)\//,
    /^libs\/dtx\/src\/(local-message|half-message|confirmed-publish|tcc|saga|xa|notify|ops)\//,
  ],
  ['operations know no scheme', /^libs\/dtx\/src\/ops\//, /^libs\/dtx\/src\/(?!core\/|ops\/)/],
  ['the library knows neither host nor shop nor apps', /^libs\/dtx\//, /^(libs\/host|libs\/shop|apps|@nest-dtx)\//],
  [
    'the host knows neither shop nor apps',
    /^libs\/host\//,
    /^(libs\/shop|apps\/|@nest-dtx\/(shop|order|payment|inventory))/,
  ],
  ['the shop knows no app', /^libs\/shop\//, /^(apps\/|@nest-dtx\/(order|payment|inventory))/],
  [
    'no app imports an app, and none reaches into a library',
    /^apps\//,
    /^(@nest-dtx\/(order|payment|inventory)|@nest-dtx\/(shop|host)\/|libs\/)/,
  ],
  ['the tools know no app and reach into no library', /^tools\//, /^(@nest-dtx\/(?!shop$)|apps\/|libs\/)/],
  ['no room of the tools imports a command', /^tools\/src\/(?!commands\/)/, /^tools\/src\/commands\//],
  ['nothing uses the stock RabbitMQ transport', /./, /^amqp-connection-manager$/],
];

describe('arrows run one way', () => {
  test.each(rules)('%s', (_, who, what) => {
    const own = (file: string) => /^(libs\/dtx\/src\/[^/]+)\//.exec(file)?.[1];
    const broken = sources
      .filter((file) => who.test(file))
      .flatMap((file) =>
        importsOf(file)
          .filter((name) => what.test(name) && !(own(file) && name.startsWith(`${own(file)}/`)))
          .map((name) => `${file} -> ${name}`),
      );
    expect(broken).toEqual([]);
  });

  test('apps import no other app by path', () => {
    const app = (file: string) => /^apps\/([^/]+)/.exec(file)?.[1];
    const broken = sources.flatMap((file) =>
      importsOf(file)
        .filter((name) => app(name) && app(name) !== app(file))
        .map((name) => `${file} -> ${name}`),
    );
    expect(broken).toEqual([]);
  });
});

test('tests start processes in the way that ends them with their file', () => {
  const own = /import \{[^}]*\bspawn\b[^}]*\} from 'node:child_process'/;
  expect(tests.filter((file) => own.test(read(file)))).toEqual(['test/fixtures/spawned-processes.ts']);
});

describe('things stay small', () => {
  test(`no file is longer than ${FILE_LINES_MAX} lines`, () => {
    const long = [...product, ...scripts, ...tests].map((file) => [file, read(file).split('\n').length] as const);
    expect(long.filter(([, lines]) => lines > FILE_LINES_MAX)).toEqual([]);
  });

  test(`no function is longer than ${FUNCTION_LINES_MAX} lines`, () => {
    expect([...sources, ...scripts].flatMap((file) => longFunctions(file))).toEqual([]);
  });

  test('no file is named util, common or helper', () => {
    expect([...product, ...scripts, ...tests].filter((file) => BANNED_NAMES.test(file))).toEqual([]);
  });
});

/** Formatted code: a function begins on a line with a given indent and ends at the next `}` with the same indent. */
function longFunctions(file: string): string[] {
  const lines = read(file).split('\n');
  const found: string[] = [];
  for (const [start, line] of lines.entries()) {
    const begins =
      /^(\s*)(?:(?:export |public |private |protected |static |override |async |readonly )*(?:function\b|[\w$]+\s*[(<]).*\)?.*\{|.*=> \{)$/.exec(
        line,
      );
    if (!begins || /^\s*(if|for|while|switch|describe|return|class|const enum)\b/.test(line)) continue;
    const end = lines.findIndex((other, index) => index > start && other.startsWith(`${begins[1]}}`));
    if (end - start > FUNCTION_LINES_MAX) found.push(`${file}:${start + 1} has ${end - start} lines`);
  }
  return found;
}
