import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';
import type { AppName } from '../fixtures/sandbox.js';
import { APPS } from '../fixtures/three-apps.js';

export const INSTALLATIONS = join(ROOT, 'test', 'upgrade', 'fixtures');

export interface RecordedMessage {
  readonly body: string;
  readonly properties: Record<string, unknown>;
}

export interface RecordedQueue {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
  readonly messages: readonly RecordedMessage[];
}

/** A prepared XA branch, and its uncommitted rows as statements. */
export interface RecordedBranch {
  readonly app: AppName;
  readonly gtrid: string;
  readonly bqual: string;
  readonly formatId: number;
  readonly statements: readonly string[];
}

export interface About {
  readonly commit: string;
  /** Milliseconds since the epoch by the database clock at the end of the recording. */
  readonly recordedAtMs: number;
  readonly databaseServer: string;
}

/** Three databases, the queues and the prepared branches of the shop, after all its processes have ended. */
export interface Installation {
  readonly about: About;
  readonly databases: Record<AppName, string>;
  readonly queues: readonly RecordedQueue[];
  readonly branches: readonly RecordedBranch[];
}

/** Stands for host and port of the notified merchant in all files. */
export const MERCHANT = 'merchant.invalid';

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

export function writeInstallation(folder: string, { about, databases, queues, branches }: Installation): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'about.json'), json(about));
  writeFileSync(join(folder, 'queues.json'), json(queues));
  writeFileSync(join(folder, 'branches.json'), json(branches));
  for (const app of APPS) writeFileSync(join(folder, `${app}.sql`), databases[app]);
}

/** @param change is applied to the text of each file */
export function readInstallation(folder: string, change: (text: string) => string): Installation {
  const text = (file: string) => change(readFileSync(join(folder, file), 'utf8'));
  return {
    about: aboutOf(folder),
    queues: JSON.parse(text('queues.json')),
    branches: JSON.parse(text('branches.json')),
    databases: { order: text('order.sql'), payment: text('payment.sql'), inventory: text('inventory.sql') },
  };
}

export const aboutOf = (folder: string): About => JSON.parse(readFileSync(join(folder, 'about.json'), 'utf8'));
