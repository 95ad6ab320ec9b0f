import { Injectable } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';
import { Effect } from './effect.entity.js';
import { moduleOf, start, until } from './running-service.js';
import { contractOf, ended, modulesOf, send, servers } from './sent-message.js';

const asked = contractOf('queued.take');
const undeclared = contractOf('undeclared.take');

@Injectable()
class Take {
  @OnMessage(asked)
  async take(tx: EntityManager, { id }: { id: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'queued', orderId: id });
  }
}

/** A service whose broker account may not declare a queue, on queues that another account has declared. */
export async function withoutConfigure(): Promise<object> {
  const asOwner = await start(moduleOf({ imports: modulesOf('queued'), providers: [Take] }));
  await send(asOwner, asked, 'declared');
  await ended(asOwner, 'declared');
  await asOwner.close();
  const imports = modulesOf('queued', { rabbitmqUrl: servers.fixedRabbitmqUrl });
  const app = await start(moduleOf({ imports, providers: [Take] }));
  await send(app, asked, 'queued');
  const { state } = await ended(app, 'queued');
  await send(app, undeclared, 'undeclared');
  const query = `SELECT last_error AS error FROM dtx_outbox WHERE gid = 'undeclared' AND last_error IS NOT NULL`;
  const { error } = await until('the queue is refused', async () => {
    const [row] = (await app.get(DataSource).query(query)) as Array<{ error: string }>;
    return row;
  });
  await app.close();
  return { state, error };
}
