import { Injectable } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';
import { Effect } from './effect.entity.js';
import { moduleOf, start } from './running-service.js';
import { contractOf, ended, modulesOf, send, servers, typeOrm } from './sent-message.js';

const asked = contractOf('rows.take');

@Injectable()
class Take {
  @OnMessage(asked)
  async take(tx: EntityManager, { id }: { id: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'rows', orderId: id });
  }
}

/** A service whose account may not change a table, on a database that another account has migrated. */
export async function rightsOnRows(): Promise<object> {
  const asOwner = await start(moduleOf({ imports: modulesOf('rows'), providers: [Take] }));
  await asOwner.close();
  const database = typeOrm({ url: servers.rowsDatabase, synchronize: false });
  const app = await start(moduleOf({ imports: modulesOf('rows', {}, database), providers: [Take] }));
  const create = app.get(DataSource).query('CREATE TABLE forbidden (id INT)');
  const refused = await create.then(
    () => 'nothing',
    (error: { code: string }) => error.code,
  );
  await send(app, asked, 'rows');
  const { state } = await ended(app, 'rows');
  await app.close();
  return { refused, state };
}
