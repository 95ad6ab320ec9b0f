import { setTimeout as sleep } from 'node:timers/promises';
import { type INestApplication, Module, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DtxBroker, DtxDatabase } from 'nest-dtx';

const LIMIT_MS = 60_000;

/** Starts an application as its developer does, and waits until the library has reached its servers. */
export async function start(
  module: new () => unknown,
  prepare: (app: INestApplication) => Promise<unknown> = async () => {},
): Promise<INestApplication> {
  const app = await NestFactory.create(module, { logger: ['error', 'warn'] });
  await prepare(app);
  await app.init();
  await until(`${module.name} is ready`, () => app.get(DtxDatabase).ready && app.get(DtxBroker).isUp);
  return app;
}

/** A root module, where its parts are known at run time only. */
export function moduleOf(parts: ModuleMetadata): new () => unknown {
  class Service {}
  Module(parts)(Service);
  return Service;
}

/** Waits until `look` answers something else than false or nothing, and returns that. */
export async function until<T>(what: string, look: () => Promise<T> | T): Promise<NonNullable<T>> {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what}: not within ${LIMIT_MS} ms`);
    await sleep(20);
  }
}
