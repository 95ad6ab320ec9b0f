import { Injectable } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { Column, CreateDateColumn, DataSource, Entity, EntityManager, PrimaryColumn } from 'typeorm';
import { moduleOf, start } from './running-service.js';
import { contractOf, ended, modulesOf, send, servers, typeOrm } from './sent-message.js';

@Entity('invoice')
class Invoice {
  @PrimaryColumn({ type: 'varchar', length: 10 })
  id!: string;

  @Column({ type: 'timestamp', precision: 0, default: () => 'CURRENT_TIMESTAMP' })
  issued!: Date;

  @CreateDateColumn({ type: 'datetime', precision: 0 })
  created!: Date;
}

const asked = contractOf('session.look');
const inHandler: unknown[] = [];

@Injectable()
class Look {
  @OnMessage(asked)
  async look(tx: EntityManager): Promise<void> {
    await tx.insert(Invoice, { id: 'handler' });
    inHandler.push(await datesOf(tx));
  }
}

const VARIABLES = `'time_zone', 'tx_isolation', 'transaction_isolation', 'innodb_lock_wait_timeout', 'sql_mode', 'autocommit'`;
type Variable = { Variable_name: string; Value: string };

/** The settings of several sessions of a pool at once. */
async function sessionsOf(source: DataSource): Promise<unknown[]> {
  const runners = Array.from({ length: 3 }, () => source.createQueryRunner());
  const read = async (runner: (typeof runners)[number]) => {
    const rows = await runner.query(`SHOW SESSION VARIABLES WHERE Variable_name IN (${VARIABLES})`);
    return Object.fromEntries((rows as Variable[]).map(({ Variable_name, Value }) => [Variable_name, Value]));
  };
  const sessions = await Promise.all(runners.map(read));
  await Promise.all(runners.map((runner) => runner.release()));
  return sessions;
}

async function datesOf(manager: EntityManager): Promise<unknown> {
  const invoices = await manager.find(Invoice, { order: { issued: 'ASC' } });
  return Object.fromEntries(invoices.map(({ id, issued, created }) => [id, { issued, created }]));
}

/** The sessions of the user's pool, and dates written before and after the library has opened, read before and after. */
export async function unchangedSession(): Promise<object> {
  const database = { url: servers.eastDatabase, entities: [Invoice], synchronize: true };
  const plain = await new DataSource({ type: 'mysql', ...database }).initialize();
  await plain.manager.insert(Invoice, { id: 'before' });
  const before = { sessions: await sessionsOf(plain), dates: await datesOf(plain.manager) };
  await plain.destroy();
  const app = await start(moduleOf({ imports: modulesOf('session', {}, typeOrm(database)), providers: [Look] }));
  const source = app.get(DataSource);
  await source.manager.insert(Invoice, { id: 'after' });
  await send(app, asked, 'session');
  const { state } = await ended(app, 'session');
  const after = { sessions: await sessionsOf(source), dates: await datesOf(source.manager) };
  await app.close();
  return { state, now: new Date(), before, after, inHandler };
}
