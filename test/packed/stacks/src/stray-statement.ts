import { Controller } from '@nestjs/common';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { OnMessage } from 'nest-dtx';
import { EntityManager, Repository } from 'typeorm';
import { Effect } from './effect.entity.js';
import { moduleOf, start } from './running-service.js';
import { contractOf, ended, modulesOf, send } from './sent-message.js';

const asked = contractOf('astray.write');

@Controller()
class WriteAstray {
  constructor(@InjectRepository(Effect) private readonly effects: Repository<Effect>) {}

  @OnMessage(asked)
  async write(_tx: EntityManager, { id }: { id: string }): Promise<void> {
    await this.effects.insert({ scheme: 'astray', orderId: id });
  }
}

/** A handler that writes by an injected repository in place of its transaction. */
export async function strayStatement(): Promise<object> {
  const imports = [...modulesOf('astray', { inbox: { attemptsMax: 1 } }), TypeOrmModule.forFeature([Effect])];
  const app = await start(moduleOf({ imports, controllers: [WriteAstray] }));
  await send(app, asked, 'astray');
  const { state, error } = await ended(app, 'astray');
  const effects = await app.get(EntityManager).countBy(Effect, { scheme: 'astray' });
  await app.close();
  return { state, error, effects };
}
