import { Controller, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import {
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  Transport,
} from '@nestjs/microservices';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule, OnMessage } from 'nest-dtx';
import { LocalMessageModule } from 'nest-dtx/local-message';
import { firstValueFrom } from 'rxjs';
import { DataSource, EntityManager, EventSubscriber, Repository } from 'typeorm';
import { Effect } from './effect.entity.js';
import { moduleOf, start, until } from './running-service.js';
import { contractOf, coreOptions, ended, send, servers, typeOrm } from './sent-message.js';

const asked = contractOf('existing.take');
const events: unknown[] = [];
const subscribed: string[] = [];

/** As `ConfigService`: it knows the options once the application starts. */
@Injectable()
class Settings {
  dtx = () => coreOptions('existing');

  createLocalMessageOptions(): object {
    return { attemptsMax: 3 };
  }
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Controller()
class OwnHandlers {
  @EventPattern('user.created')
  created(@Payload() event: unknown): void {
    events.push(event);
  }

  @MessagePattern({ cmd: 'sum' })
  sum(@Payload() numbers: number[]): number {
    return numbers.reduce((sum, number) => sum + number, 0);
  }
}

@Injectable()
@EventSubscriber()
class OwnSubscriber {
  constructor(source: DataSource) {
    source.subscribers.push(this);
  }

  listenTo(): typeof Effect {
    return Effect;
  }

  beforeInsert({ entity }: { entity: Effect }): void {
    subscribed.push(entity.scheme);
  }
}

/** Fills a table at the start, by an injected repository. */
@Injectable()
class Seed implements OnModuleInit {
  constructor(@InjectRepository(Effect) readonly effects: Repository<Effect>) {}

  async onModuleInit(): Promise<void> {
    if ((await this.effects.countBy({ scheme: 'seed' })) === 0)
      await this.effects.insert({ scheme: 'seed', orderId: 'seed' });
  }
}

/** A handler in a provider, beside the providers that the service had before. */
@Injectable()
class Take {
  @OnMessage(asked)
  async take(tx: EntityManager, { id }: { id: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'existing', orderId: id });
  }
}

/** A service with handlers of another transport, a subscriber, a repository, a handler in a provider, and later options. */
export async function existingService(): Promise<object> {
  const imports = [
    typeOrm(),
    DtxModule.forRootAsync({
      imports: [SettingsModule],
      inject: [Settings],
      useFactory: (settings: Settings) => settings.dtx(),
    }),
    LocalMessageModule.forRootAsync({ isGlobal: true, imports: [SettingsModule], useExisting: Settings }),
    TypeOrmModule.forFeature([Effect]),
  ];
  const tcp = { transport: Transport.TCP as const, options: { host: '127.0.0.1', port: servers.ownPort } };
  const parts = { imports, controllers: [OwnHandlers], providers: [Take, OwnSubscriber, Seed] };
  const app = await start(moduleOf(parts), (created) => {
    created.connectMicroservice<MicroserviceOptions>(tcp);
    return created.startAllMicroservices();
  });
  const client = ClientProxyFactory.create(tcp);
  const sum: unknown = await firstValueFrom(client.send({ cmd: 'sum' }, [1, 2]));
  await firstValueFrom(client.emit('user.created', { id: 7 }), { defaultValue: undefined });
  await until('the event arrives', () => events.length);
  await send(app, asked, 'existing');
  const { state } = await ended(app, 'existing');
  const read = await app.get(Seed).effects.countBy({ scheme: 'seed' });
  await client.close();
  await app.close();
  return { sum, events, subscribed, read, state };
}
