import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makePrivateDir } from '../../tools/src/infra-files.js';
import { withLock } from '../../tools/src/process/command-lock.js';

describe('a folder that a command finds', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'found-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);
  const found = (mode: number) => {
    const path = mkdtempSync(join(folder, 'x-'));
    mkdirSync(join(path, 'inner'), { mode });
    return join(path, 'inner');
  };

  test.each(['755', '750', '700'])('keeps its mode when a lock is taken in it: %s', async (mode) => {
    const path = found(Number.parseInt(mode, 8));
    const before = modeOf(path);
    const inside = await withLock(join(path, 'a.lock'), { say: () => {}, what: 'nothing' }, async () => modeOf(path));
    expect([inside, modeOf(path)]).toEqual([before, before]);
    expect(readdirSync(path)).toEqual([]);
  });

  test('keeps its mode when it is to be a private one, and new files inside are private', () => {
    const path = found(0o755);
    makePrivateDir(path);
    makePrivateDir(join(path, 'made', 'deeper'));
    expect([path, join(path, 'made'), join(path, 'made', 'deeper')].map(modeOf)).toEqual(['755', '700', '700']);
  });
});
