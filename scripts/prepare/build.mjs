// The build: TypeScript's own incremental one decides what is stale; asking it costs about a second.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runNpm } from './npm.mjs';

export async function build(root, { say, signal }) {
  const isFirst = !existsSync(join(root, 'apps', 'order', 'dist', 'main.js'));
  await runNpm(['run', '--silent', 'build'], { root, say, signal, what: 'building', quiet: !isFirst });
}
