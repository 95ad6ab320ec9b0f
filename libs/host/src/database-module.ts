import { type DynamicModule, Injectable, Module } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { limitWaits, pinSessions } from 'nest-dtx';
import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { databaseOptions } from './database-url.js';

/** Connections that requests and handlers share. Further work waits, so a burst cannot exhaust the server. */
const POOL_SIZE = 32;
/** Longest queue for a connection. Further requests are answered 503. */
const WAITERS_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Time limit for a connection, and for the answer to each statement. After it a request is answered 503. */
const WAIT_MS = 5_000;
/** Time after which the server ends the transaction of a silent process. */
const SILENCE_SECONDS = 20;
/** Idle time after which the pool closes a connection. Shorter than SILENCE_SECONDS, which some servers apply to idle ones. */
const IDLE_MS = 10_000;
const KEEP_ALIVE_MS = 10_000;

/**
 * The app's own database. The library opens it in the background with retries. An app whose database is unavailable at
 * start runs, answers 503, and works as soon as the database does. Its sessions are pinned to UTC and to strict mode. See
 * docs/sessions.md.
 */
export function databaseModule(url: string, entities: EntityTarget<ObjectLiteral>[]): DynamicModule {
  const { extra, ...address } = databaseOptions(url);
  const typeOrm = TypeOrmModule.forRoot({
    type: 'mysql',
    ...address,
    entities: entities as TypeOrmModuleOptions['entities'],
    manualInitialization: true,
    // DATETIME columns hold UTC. By default the driver uses the time zone of the machine.
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
      // BEGIN travels with the first statement and COMMIT with the last one of nest-dtx. Texts of callers never become SQL
      // here: every value is a parameter.
      multipleStatements: true,
      // mysql2 would take a stack trace for each query.
      trace: false,
      // A reset would undo the pinned session.
      resetOnRelease: false,
    },
  });
  return { module: PinnedDatabase, imports: [typeOrm], providers: [PinnedSessions] };
}

/** Pins the sessions before the library opens the database. */
@Injectable()
class PinnedSessions {
  constructor(source: DataSource) {
    pinSessions(source);
    limitWaits(source, { acquireMs: WAIT_MS, statementMs: WAIT_MS, silenceSeconds: SILENCE_SECONDS });
  }
}

@Module({})
class PinnedDatabase {}
