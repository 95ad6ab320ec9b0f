/**
 * Tables and queues of the library for those who own them elsewhere: SQL for an administrator, TypeORM migrations, and the
 * queues of an app. See docs/schema.md.
 */
export {
  answerQueuePatternOf,
  type DtxQueue,
  type QueueContract,
  type QueueParticipant,
  type QueueStep,
  type QueuesOptions,
  queueDefinitions,
  queuesOf,
} from './queues-of-app.js';
export { TABLE_SCHEMES, type TableScheme } from './schema-components.js';
export { dtxGrantSql, dtxTableSql, type TableSqlOptions } from './table-sql.js';
export { dtxMigrations, type TypeOrmMigrationOptions } from './typeorm-migrations.js';
