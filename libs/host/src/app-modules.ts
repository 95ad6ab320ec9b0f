import type { DynamicModule } from '@nestjs/common';
import {
  type BranchDatabase,
  type DtxMigration,
  DtxModule,
  LocalMessageModule,
  NotifyModule,
  OpsModule,
  type Participant,
  TccModule,
  XaModule,
} from 'nest-dtx';
import { type Saga, SagaModule, type StepContract } from 'nest-dtx/saga';
import type { EntityTarget, ObjectLiteral } from 'typeorm';
import { databaseModule } from './database-module.js';
import type { Env } from './env.js';
import { originsOf } from './env-console-apps.js';

/** The parts that an app contributes to the platform: its name in queues, its entities and migrations. */
export interface AppParts {
  app: string;
  entities: EntityTarget<ObjectLiteral>[];
  migrations: DtxMigration[];
  /** The TCC participants that the app implements. */
  participates: readonly Participant[];
  /** The saga steps that the app carries out. */
  steps: readonly StepContract[];
  /** The sagas that the app starts. */
  sagas?: readonly Saga[];
  /** The app that runs the notification service for all apps. */
  notifier: string;
  /** Branch databases of an app that starts XA transactions. Other apps only own a branch database. */
  branches?: Record<string, BranchDatabase>;
}

/** The modules that every app imports: its own database, the library and the schemes. */
export function appModules(env: Env, parts: AppParts): DynamicModule[] {
  const { app, entities, migrations, participates, steps, sagas, branches, notifier } = parts;
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
    TccModule.forRoot({ callsPerTransaction: 16, ...env.options.tcc, participates }),
    SagaModule.forRoot({ callsPerTransaction: 16, ...env.options.saga, steps, sagas }),
    branches ? XaModule.forRoot({ ...env.options.xa, branches }) : XaModule.forParticipant(),
    notifyModule(env, app, notifier),
    operationsModule(env),
  ];
}

/** The purchases of the demo are made up, so operators may read them. */
function operationsModule({ consoleApps, options, adminToken }: Env): DynamicModule {
  const corsOrigins = originsOf(consoleApps);
  return OpsModule.forRoot({ payloads: 'masked', consoleApps, corsOrigins, ...options.ops, adminToken });
}

/** One app runs the notification service. The others publish their notifications to it. */
function notifyModule(env: Env, app: string, service: string): DynamicModule {
  const { notifySecrets: secrets, notifyUrl: defaultTarget, notifyAllow: allow, options } = env;
  // All apps have the same secrets. Without one the service calls no target.
  const serviceHasDefaultTarget = secrets.length > 0;
  if (app !== service) return NotifyModule.forPublisher({ serviceHasDefaultTarget, ...options.notify, service });
  // Without DTX_NOTIFY_URL the results of purchases without a `notifyUrl` have no receiver.
  return NotifyModule.forService({ withoutTarget: 'drop', ...options.notify, service, secrets, defaultTarget, allow });
}
