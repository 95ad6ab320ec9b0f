import type { DataSource } from 'typeorm';

interface RawConnection {
  query(sql: string, done: (error: Error | null) => void): void;
}
interface RawPool {
  on(event: 'acquire', listener: (connection: RawConnection) => void): void;
}

export interface Session {
  readonly lockWaitSeconds: number;
  /** The server ends a connection that is silent for so long, and its transaction: for pools that are always in use. */
  readonly silenceSeconds?: number;
}

/**
 * Gives every connection of a pool the session that the protocols count on: UTC, READ COMMITTED (a claim must not
 * lock the gaps between rows), and a lock wait short enough that "unknown" is said soon. Also those that are open
 * already: a DataSource may have been opened by whoever made it.
 */
export function prepareSessions(source: DataSource, session: Session): void {
  const driver = source.driver as unknown as { connect(): Promise<void>; pool?: RawPool; dtxSessions?: boolean };
  if (driver.dtxSessions) return;
  driver.dtxSessions = true;
  if (driver.pool) prepareEach(driver.pool, session);
  const connect = driver.connect.bind(driver);
  driver.connect = async () => {
    await connect();
    prepareEach(driver.pool!, session);
  };
}

/**
 * Before it is used for the first time from now on. mysql2 queues commands per connection, so what is sent while the pool
 * hands it out runs before the first statement of whoever asked for it.
 */
function prepareEach(pool: RawPool, session: Session): void {
  const prepared = new WeakSet<RawConnection>();
  pool.on('acquire', (connection) => {
    if (prepared.has(connection)) return;
    prepared.add(connection);
    for (const sql of sessionSql(session)) connection.query(sql, () => {});
  });
}

function sessionSql({ lockWaitSeconds, silenceSeconds }: Session): string[] {
  return [
    ...(silenceSeconds ? [`SET SESSION wait_timeout = ${Number(silenceSeconds)}`] : []),
    `SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = ${Number(lockWaitSeconds)}`,
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  ];
}
