// Tables of the shape of dtx_outbox, in the layouts that are compared.
import type { Connection } from 'mysql2/promise';

export interface Layout {
  readonly name: string;
  readonly tables: readonly string[];
  /** Partitions of each table. 1: the table is not partitioned. */
  readonly partitions: number;
  readonly relays: number;
}

const FOUR = ['outbox_0', 'outbox_1', 'outbox_2', 'outbox_3'] as const;
const ONE = ['outbox'] as const;

export const LAYOUTS: readonly Layout[] = [
  { name: '1 table, 1 relay', tables: ONE, partitions: 1, relays: 1 },
  { name: '1 table, 4 relays', tables: ONE, partitions: 1, relays: 4 },
  { name: '1 table of 4 partitions, 1 relay', tables: ONE, partitions: 4, relays: 1 },
  { name: '1 table of 4 partitions, 4 relays', tables: ONE, partitions: 4, relays: 4 },
  { name: '4 tables, 1 relay', tables: FOUR, partitions: 1, relays: 1 },
  { name: '4 tables, 4 relays', tables: FOUR, partitions: 1, relays: 4 },
];

/** Empty tables in place of those of the layout before. */
export async function makeTables(connection: Connection, { tables, partitions }: Layout): Promise<void> {
  for (const table of [...ONE, ...FOUR]) await connection.query(`DROP TABLE IF EXISTS ${table}`);
  for (const table of tables) {
    await connection.query(
      `CREATE TABLE ${table} (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        contract VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INT NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        awaiting VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        created_at DATETIME(3) NOT NULL,
        sent_at DATETIME(3) NULL,
        KEY due (next_attempt_at, awaiting, state),
        KEY by_gid (gid),
        KEY by_age (created_at),
        KEY by_state (state)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 ${partitions > 1 ? `PARTITION BY KEY (id) PARTITIONS ${partitions}` : ''}`,
    );
  }
}
