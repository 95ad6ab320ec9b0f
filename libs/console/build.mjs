// Builds the static files into dist, if a source has changed since: node build.mjs
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ROOT = dirname(fileURLToPath(import.meta.url));
const FILES = ['build.mjs', 'index.html', 'lab.html', 'package.json', 'vite.config.ts'];

function sourcesHash() {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash('sha256');
  for (const file of [...FILES.map((name) => join(ROOT, name)), ...sources.sort()])
    hash.update(file).update(readFileSync(file));
  return hash.digest('hex');
}

const mark = join(ROOT, 'dist', '.built');
const wanted = sourcesHash();
const isFresh = existsSync(mark) && readFileSync(mark, 'utf8') === wanted;
if (!isFresh) {
  rmSync(mark, { force: true });
  await build({ root: ROOT, configFile: join(ROOT, 'vite.config.ts'), logLevel: 'warn' });
  writeFileSync(mark, wanted);
}
