import type { DataSource } from 'typeorm';

interface RawConnection {
  query(sql: string, done: (error: Error | null) => void): void;
}
interface RawPool {
  on(event: 'connection', listener: (connection: RawConnection) => void): void;
  getConnection(done: (error: Error | null, connection: RawConnection & { release(): void }) => void): void;
}

export interface Session {
  readonly lockWaitSeconds: number;
  /** The server ends a connection that is silent for so long, and its transaction: for pools that are always in use. */
  readonly silenceSeconds?: number;
}

/**
 * Gives every connection of a pool the session that the protocols count on: UTC, READ COMMITTED (a claim must not
 * lock the gaps between rows), and a lock wait short enough that "unknown" is said soon. mysql2 queues commands per
 * connection, so what is sent in the `connection` event runs before the first statement of whoever asked for it.
 */
export function prepareSessions(source: DataSource, session: Session): void {
  const driver = source.driver as unknown as { connect(): Promise<void>; pool?: RawPool; dtxSessions?: boolean };
  if (driver.dtxSessions) return;
  driver.dtxSessions = true;
  const connect = driver.connect.bind(driver);
  driver.connect = async () => {
    await connect();
    const pool = driver.pool!;
    const prepare = (connection: RawConnection) => {
      for (const sql of sessionSql(session)) connection.query(sql, () => {});
    };
    pool.on('connection', prepare);
    await prepareFirst(pool, prepare);
  };
}

/** TypeORM opens one connection to see whether it can; it is in the pool before the listener is. */
function prepareFirst(pool: RawPool, prepare: (connection: RawConnection) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => {
      if (error) return reject(error);
      prepare(connection);
      connection.query('DO 0', (failed) => {
        connection.release();
        if (failed) reject(failed);
        else resolve();
      });
    });
  });
}

function sessionSql({ lockWaitSeconds, silenceSeconds }: Session): string[] {
  return [
    ...(silenceSeconds ? [`SET SESSION wait_timeout = ${Number(silenceSeconds)}`] : []),
    `SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = ${Number(lockWaitSeconds)}`,
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  ];
}
