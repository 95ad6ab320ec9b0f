import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const SOURCE = 'libs/dtx/src';

/** Rooms of the core, each may import only those before it. Files right in `core/` stand beside all of them. */
const CORE_ROOMS = ['errors', 'async', 'broker', 'database', 'durable', 'consumer'];
const SCHEMES = ['local-message', 'half-message', 'confirmed-publish', 'tcc', 'saga', 'xa', 'notify'];
/** Rooms that gather a part of every scheme: the tables, the queues and the command line. */
const GATHERING = /^(testing|schema|cli)\//;
/** A word of a scheme, or the name of a demo app. */
const SCHEME_WORDS =
  /\btcc\b|\bsaga\b|\bxa\b(?! ALTER)|half-?message|notification|outbox|\b(order|payment|inventory)\.[a-z]/i;
/** Text in which such a word has its everyday sense. */
const EVERYDAY = /in order\./;

interface Arrow {
  readonly from: string;
  readonly line: number;
  readonly to: string;
}

const files = readdirSync(join(ROOT, SOURCE), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /(?<!\.spec)\.ts$/.test(entry.name))
  .map((entry) => relative(join(ROOT, SOURCE), join(entry.parentPath, entry.name)));
const linesOf = (file: string) => readFileSync(join(ROOT, SOURCE, file), 'utf8').split('\n');

/** Imports of one file by another, types included: who reads the one has to know the other. */
const arrows: Arrow[] = files.flatMap((from) =>
  linesOf(from).flatMap((text, index) => {
    const [, name] = /\bfrom '(\.[^']+)'/.exec(text) ?? [];
    if (!name) return [];
    const to = relative(join(ROOT, SOURCE), resolve(ROOT, SOURCE, dirname(from), name)).replace(/\.js$/, '.ts');
    return [{ from, line: index + 1, to }];
  }),
);
const shown = ({ from, line, to }: Arrow) => `${SOURCE}/${from}:${line} imports ${to}`;
const coreRoom = (file: string) => /^core\/([^/]+)\//.exec(file)?.[1];

describe('the import graph of the library', () => {
  test('has no arrow up between the rooms of the core', () => {
    const up = arrows.filter(({ from, to }) => {
      const [source, target] = [coreRoom(from), coreRoom(to)];
      return source && target && CORE_ROOMS.indexOf(target) > CORE_ROOMS.indexOf(source);
    });
    expect(up.map(shown)).toEqual([]);
  });

  test('knows the place of every room of the core', () => {
    const rooms = new Set(files.flatMap((file) => coreRoom(file) ?? []));
    expect([...rooms].sort()).toEqual([...CORE_ROOMS].sort());
  });

  test('has no circle of files', () => {
    const next = new Map<string, Arrow[]>();
    for (const arrow of arrows) next.set(arrow.from, [...(next.get(arrow.from) ?? []), arrow]);
    expect(circlesIn(next).map((circle) => circle.map(shown))).toEqual([]);
  });

  test('lets a scheme be entered from outside only by its index', () => {
    const room = (file: string) => SCHEMES.find((scheme) => file.startsWith(`${scheme}/`));
    const inner = arrows.filter(
      ({ from, to }) => room(to) && room(from) !== room(to) && !to.endsWith('/index.ts') && !GATHERING.test(from),
    );
    expect(inner.map(shown)).toEqual([]);
  });

  test('has no word of a scheme, and no name of a demo app, in the core', () => {
    const found = files
      .filter((file) => file.startsWith('core/'))
      .flatMap((file) =>
        linesOf(file).flatMap((text, index) =>
          SCHEME_WORDS.test(text.replace(EVERYDAY, '')) ? [`${SOURCE}/${file}:${index + 1}: ${text.trim()}`] : [],
        ),
      );
    expect(found).toEqual([]);
  });
});

/** Each circle once, as its arrows. */
function circlesIn(next: ReadonlyMap<string, readonly Arrow[]>): Arrow[][] {
  const circles: Arrow[][] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly Arrow[]): void => {
    const start = path.findIndex(({ from }) => from === file);
    if (start >= 0) circles.push(path.slice(start));
    if (start >= 0 || done.has(file)) return;
    for (const arrow of next.get(file) ?? []) walk(arrow.to, [...path, arrow]);
    done.add(file);
  };
  for (const file of next.keys()) walk(file, []);
  return circles;
}
