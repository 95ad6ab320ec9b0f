import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from '../fixtures/app-process.js';

export const run = promisify(execFile);

/** What `npm pack` says about the tarball that it has written. */
export interface Packed {
  readonly tarball: string;
  readonly unpackedSize: number;
  /** Paths in the package. */
  readonly files: readonly string[];
}

/** A folder outside of the repository, whose packages Node would find from every folder inside. */
export const scratch = (name: string) => mkdtempSync(join(tmpdir(), `nest-dtx-${name}-`));

/** Packs the library as it is packed from a fresh clone: the files that git has, and no build. */
export async function packFromClone(folder: string): Promise<Packed> {
  const clone = join(folder, 'clone');
  const sources = ['libs/dtx', 'scripts', 'package.json', 'tsconfig.base.json'];
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', ...sources], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  for (const file of list.split('\0').filter(Boolean)) {
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(ROOT, file), join(clone, file));
  }
  symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
  const pack = ['pack', '--json', '--workspace', 'nest-dtx', '--pack-destination', folder];
  const { stdout } = await run('npm', pack, { cwd: clone, maxBuffer: 16 * 1024 * 1024 });
  const [about] = JSON.parse(stdout.slice(stdout.indexOf('[')));
  const files = about.files.map(({ path }: { path: string }) => path);
  return { tarball: join(folder, about.filename), unpackedSize: about.unpackedSize, files };
}

/**
 * A project with the packages of this repository, and with the tarball in place of the library.
 * @param without packages that the project has not installed
 */
export async function projectWith(tarball: string, folder: string, without: readonly string[] = []): Promise<string> {
  const project = join(folder, 'project');
  const packages = join(project, 'node_modules');
  mkdirSync(join(packages, 'nest-dtx'), { recursive: true });
  const left = new Set(['nest-dtx', '@nest-dtx', ...without]);
  for (const name of readdirSync(join(ROOT, 'node_modules')))
    if (!name.startsWith('.') && !left.has(name)) symlinkSync(join(ROOT, 'node_modules', name), join(packages, name));
  await run('tar', ['xzf', tarball, '--strip-components=1', '-C', join(packages, 'nest-dtx')]);
  return project;
}
