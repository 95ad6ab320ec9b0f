import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import type { Migration } from '../../libs/dtx/src/index.js';
import { ROOT } from '../support/app-process.js';
import type { AppName, World } from '../support/world.js';
import type { Library, ServiceOptions } from './little-service.js';

const load = createRequire(import.meta.url);

/** Makes the database of another app one that branches of XA can work in. Answers the options that use it. */
export async function prepareBranch(
  world: World,
  app: AppName,
  library: Library,
  root = ROOT,
): Promise<ServiceOptions['xa']> {
  const { witnessMigrations }: { witnessMigrations: Migration[] } = load(
    join(root, 'libs', 'dtx', 'dist', 'xa', 'xa-tables.js'),
  );
  const source = await new DataSource({ type: 'mysql', url: world.databases[app] }).initialize();
  await library.migrate(source, 'dtx-xa-witness', witnessMigrations);
  await source.destroy();
  return { timeoutMs: 3_000, branches: { [app]: { url: world.databases[app] } } };
}
