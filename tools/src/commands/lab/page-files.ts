// The page of the lab: the files of the console package, in memory.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { ROOT } from '../../infra-files.js';

const FOLDER = join(ROOT, 'libs', 'console', 'dist');
/** Files of other types are not served. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

/** Files by their path in a URL. `/` is the lab. Empty if the console is not built. */
export function pageFiles(folder = FOLDER): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  if (!existsSync(join(folder, 'lab.html'))) return files;
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = TYPES[extname(name)];
    const path = `/${name.replaceAll('\\', '/')}`;
    // The console has its own place at each app.
    if (type === undefined || path === '/index.html') continue;
    files.set(path === '/lab.html' ? '/' : path, { type, body: readFileSync(join(folder, name)) });
  }
  return files;
}
