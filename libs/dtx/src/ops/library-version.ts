import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The version of this package, or `unknown` where a bundler has left its manifest behind. */
export function libraryVersion(): string {
  try {
    const manifest = JSON.parse(readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8'));
    return manifest.name === 'nest-dtx' ? manifest.version : 'unknown';
  } catch {
    return 'unknown';
  }
}
