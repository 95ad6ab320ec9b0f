import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { installedPackage } from './installed-package.js';

const PACKAGE = 'nest-dtx-console';
/** Files of other types are not served. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A file in memory, as it is and compressed. */
export interface ConsoleFile {
  readonly type: string;
  readonly body: Buffer;
  readonly gzipped: Buffer;
}

/** The files of the installed console by their names, such as `assets/index-1a2b.js`. Null if it is not installed. */
export function installedConsole(): ReadonlyMap<string, ConsoleFile> | null {
  const found = installedPackage(PACKAGE);
  if (!found) return null;
  const folder = join(found.folder, 'dist');
  // A clone may have the package without its build.
  if (!existsSync(join(folder, 'index.html'))) return null;
  const files = new Map<string, ConsoleFile>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const path = name.replaceAll('\\', '/');
    const read = readFileSync(join(folder, name));
    // The page is served without a slash at its end, so its files are below its own name.
    const body = path === 'index.html' ? Buffer.from(read.toString().replaceAll('./assets/', 'console/assets/')) : read;
    files.set(path, { type, body, gzipped: gzipSync(body, { level: 9 }) });
  }
  return files;
}
