import type { DataSource } from 'typeorm';

/**
 * Opens a DataSource with `manualInitialization: true`. Subscribers that services have pushed in their constructors stay,
 * as NestJS documents them. TypeORM itself replaces the list with the option `subscribers`. After a failure the list is as
 * before, for the next attempt.
 */
export async function openDataSource(source: DataSource): Promise<void> {
  const pushed = source.subscribers;
  try {
    await source.initialize();
  } catch (error) {
    Object.assign(source, { subscribers: pushed });
    throw error;
  }
  source.subscribers.push(...pushed.filter((one) => !source.subscribers.includes(one)));
}
