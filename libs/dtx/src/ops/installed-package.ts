import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export interface InstalledPackage {
  readonly folder: string;
  readonly version: string;
}

/** A package beside this library, beside the program, or in the folder that the program runs in. Null if there is none. */
export function installedPackage(name: string): InstalledPackage | null {
  // A bundler may have made one ES module of the program, which has no file name of the library.
  const own = typeof __filename === 'string' ? __filename : '';
  for (const from of [own, process.argv[1] ?? '', join(process.cwd(), 'package.json')]) {
    try {
      const manifest = createRequire(from).resolve(`${name}/package.json`);
      return { folder: dirname(manifest), version: String(JSON.parse(readFileSync(manifest, 'utf8')).version) };
    } catch {} // not installed there
  }
  return null;
}
