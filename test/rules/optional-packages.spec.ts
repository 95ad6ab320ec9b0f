import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** An app installs an optional package only if it uses it, so neither the library nor its types may need it before. */
const DIST = join(ROOT, 'libs', 'dtx', 'dist');
const OPTIONAL = ['prom-client', 'ioredis', '@opentelemetry/api'];

test('the whole library is loaded without an optional package', () => {
  const index = pathToFileURL(join(DIST, 'index.js')).href;
  const script = `import { Module } from 'node:module'; await import('${index}'); console.log(JSON.stringify(Object.keys(Module._cache)))`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: ROOT, encoding: 'utf8' });
  const loaded: string[] = JSON.parse(output);
  expect(loaded.some((file) => file.includes('/node_modules/amqplib/'))).toBe(true);
  expect(loaded.filter((file) => OPTIONAL.some((name) => file.includes(`/node_modules/${name}/`)))).toEqual([]);
});

test('only the types of nest-dtx/opentelemetry name an optional package', () => {
  const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'));
  const naming = files.filter((file) => {
    const text = readFileSync(join(DIST, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    return OPTIONAL.some((name) => text.includes(`'${name}'`) || text.includes(`"${name}"`));
  });
  expect(files.length).toBeGreaterThan(100);
  expect(naming.filter((file) => !file.startsWith('opentelemetry/'))).toEqual([]);
});
