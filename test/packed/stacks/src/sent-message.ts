import type { INestApplication, ModuleMetadata } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { type CoreOptionsInput, DtxModule, defineMessage } from 'nest-dtx';
import { LocalMessageModule, LocalMessages } from 'nest-dtx/local-message';
import { DataSource } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';
import { until } from './running-service.js';

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** Where a service of the guarantees runs. */
export const servers = {
  database: setting('DATABASE'),
  /** The same database through an account whose sessions have another time zone. */
  eastDatabase: setting('EAST_DATABASE'),
  /** The same database through an account with SELECT, INSERT, UPDATE and DELETE only. */
  rowsDatabase: setting('ROWS_DATABASE'),
  rabbitmqUrl: setting('RABBITMQ_URL'),
  /** The same broker through an account without the right `configure`. */
  fixedRabbitmqUrl: setting('FIXED_RABBITMQ_URL'),
  ownPort: Number(setting('OWN_PORT')),
};

/** A contract with one consumer, such as `shop.take`. */
export const contractOf = (consumer: string) =>
  defineMessage({
    name: `asked.${consumer}`,
    version: 1,
    schema: z.object({ id: z.string() }),
    consumers: [consumer],
    gid: (message) => message.id,
  });
type Asked = ReturnType<typeof contractOf>;

/** The DataSource of a service, as its developer opens it. */
export const typeOrm = (options: { url?: string; entities?: Array<new () => unknown>; synchronize?: boolean } = {}) => {
  const defaults = { type: 'mysql' as const, url: servers.database, entities: [Effect], synchronize: true };
  return TypeOrmModule.forRoot({ ...defaults, retryAttempts: 0, ...options } as TypeOrmModuleOptions);
};

export const coreOptions = (app: string, options: Partial<CoreOptionsInput> = {}): CoreOptionsInput => ({
  app,
  rabbitmqUrl: servers.rabbitmqUrl,
  scanIntervalMs: 100,
  inbox: { attemptsMax: 5, backoff: { firstMs: 100, factor: 1, capMs: 100 } },
  ...options,
});

/** The modules of a service with the local message table. */
export const modulesOf = (
  app: string,
  core: Partial<CoreOptionsInput> = {},
  database = typeOrm(),
): NonNullable<ModuleMetadata['imports']> => [
  database,
  DtxModule.forRoot(coreOptions(app, core)),
  LocalMessageModule.forRoot(),
];

export const send = (app: INestApplication, contract: Asked, id: string): Promise<string> =>
  app.get(DataSource).transaction((tx) => app.get(LocalMessages).append(tx, contract, { id }));

export interface Ended {
  readonly state: string;
  readonly error: string | null;
}

/** Waits until a message is handled or parked. */
export function ended(app: INestApplication, id: string): Promise<Ended> {
  const query = `SELECT state, last_error AS error FROM dtx_inbox WHERE gid = ? AND state IN ('HANDLED', 'PARKED')`;
  return until(`${id} is handled or parked`, async () => (await app.get(DataSource).query(query, [id]))[0] as Ended);
}

/** Why an operator has been alerted of a message. */
export async function alertsOf(app: INestApplication, id: string): Promise<string[]> {
  const rows = await app.get(DataSource).query('SELECT alert_error AS error FROM dtx_alert WHERE gid = ?', [id]);
  return rows.map(({ error }: { error: string }) => error);
}
