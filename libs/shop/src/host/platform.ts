import type { DynamicModule } from '@nestjs/common';
import {
  DtxModule,
  LocalMessageModule,
  type Migration,
  NotifyModule,
  OpsModule,
  type Participant,
  TccModule,
  XaModule,
} from 'nest-dtx';
import type { EntityTarget, ObjectLiteral } from 'typeorm';
import { databaseModule } from './database.js';
import type { Env } from './env.js';
import { xaBranches } from './xa-branches.js';

/** What an app brings to the platform: its name in queues, its tables, and how to read them. */
export interface AppParts {
  app: 'order' | 'payment' | 'inventory';
  entities: EntityTarget<ObjectLiteral>[];
  migrations: Migration[];
  /** As what it takes part in TCC transactions. */
  participates: readonly Participant[];
}

/** What every app imports: its own database, the library and the schemes that it takes part in. */
export function platformModules(env: Env, { app, entities, migrations, participates }: AppParts): DynamicModule[] {
  return [
    databaseModule(env.databaseUrl, entities),
    DtxModule.forRoot({
      ...env.options.core,
      app,
      rabbitmqUrl: env.rabbitmqUrl,
      redisUrl: env.redisUrl,
      alertWebhook: env.alertWebhook,
      migrations,
    }),
    LocalMessageModule.forRoot(env.options.localMessage),
    TccModule.forRoot({ ...env.options.tcc, participates }),
    app === 'order' ? XaModule.forRoot({ ...env.options.xa, branches: xaBranches(env) }) : XaModule.forParticipant(),
    notifyModule(env, app),
    OpsModule.forRoot({ ...env.options.ops, adminToken: env.adminToken }),
  ];
}

/** Merchants are told by the payment app; whoever else has a payment result publishes to it. */
function notifyModule({ notifySecrets: secrets, notifyUrl, notifyAllow, options }: Env, app: string): DynamicModule {
  const service = 'payment';
  if (app !== service) return NotifyModule.forPublisher({ ...options.notify, service, secrets });
  return NotifyModule.forService({ ...options.notify, service, secrets, defaultTarget: notifyUrl, allow: notifyAllow });
}
