import { type DynamicModule, Injectable, Module } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { limitWaits, pinSessions } from 'nest-dtx';
import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { databaseOptions } from './database-options.js';

/** Connections that requests and handlers share. Above it they wait, so that a burst cannot exhaust the server. */
const POOL_SIZE = 32;
/** Waiters above this are turned away (503): a queue without a limit only grows while the database is slow. */
const WAITERS_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** For a connection, and for the answer to each statement: then a request is answered 503. */
const WAIT_MS = 5_000;
/** After so long the server ends the transaction of a process that was stopped. */
const SILENCE_SECONDS = 20;
/** Before a server that knows no other limit would end what is idle for its silence. */
const IDLE_MS = 10_000;
const KEEP_ALIVE_MS = 10_000;

/**
 * The app's own database. It is opened by the library, in the background and for as long as it takes: so an app whose
 * database is away at start is up, answers 503, and works as soon as it can. Its sessions are the app's own business, and
 * this app pins them: what it stores is UTC, and what does not fit is an error.
 */
export function databaseModule(url: string, entities: EntityTarget<ObjectLiteral>[]): DynamicModule {
  const { extra, ...address } = databaseOptions(url);
  const typeOrm = TypeOrmModule.forRoot({
    type: 'mysql',
    ...address,
    entities: entities as TypeOrmModuleOptions['entities'],
    manualInitialization: true,
    // DATETIMEs hold UTC; without it the driver would read and write them in the zone of this machine.
    timezone: 'Z',
    charset: 'utf8mb4',
    poolSize: POOL_SIZE,
    extra: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      ...extra,
      connectionLimit: POOL_SIZE,
      queueLimit: WAITERS_MAX,
      maxIdle: POOL_SIZE - 1,
      idleTimeout: IDLE_MS,
      // A reset would undo the session that was pinned.
      resetOnRelease: false,
    },
  });
  return { module: PinnedDatabase, imports: [typeOrm], providers: [PinnedSessions] };
}

/** Before the library opens it. */
@Injectable()
class PinnedSessions {
  constructor(source: DataSource) {
    pinSessions(source);
    limitWaits(source, { acquireMs: WAIT_MS, statementMs: WAIT_MS, silenceSeconds: SILENCE_SECONDS });
  }
}

@Module({})
class PinnedDatabase {}
