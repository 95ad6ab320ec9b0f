import 'reflect-metadata';
import { DiscoveryModule, ModulesContainer, NestFactory } from '@nestjs/core';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { refuseUnservedClasses } from '../core/classes-of-schemes.js';
import { OptionsError } from '../core/errors/errors.js';
import { Installation } from '../core/installation.js';
import { defineParticipant } from './participant-contract.js';
import { TccParticipant } from './participant-decorators.js';
import { Explorer, PARTICIPATES } from './participant-discovery.js';

const funds = defineParticipant({ name: 'payment.missing-module', version: 1, args: z.object({}) });

@TccParticipant(funds, { try: 'all', confirm: 'all', cancel: 'all' })
class FreezeFunds {
  all() {}
}

/** What the start of an application with these providers says. */
async function refusalWith(providers: object[]): Promise<unknown> {
  class App {}
  const module = { module: App, imports: [DiscoveryModule], providers: [FreezeFunds, ...providers] as never[] };
  const app = await NestFactory.createApplicationContext(module, { logger: false, abortOnError: false });
  try {
    return refuseUnservedClasses(app.get(ModulesContainer));
  } catch (error) {
    return error;
  } finally {
    await app.close();
  }
}

it('a participant without TccModule is refused with the name of its class', async () => {
  const error = await refusalWith([]);
  expect(error).toBeInstanceOf(OptionsError);
  expect((error as Error).message).toBe(
    '@TccParticipant on FreezeFunds needs TccModule; add TccModule.forRoot() to the imports',
  );
});

it('a participant beside the providers of TccModule is not refused', async () => {
  const installation = { provide: Installation, useValue: { app: 'payment' } };
  expect(await refusalWith([installation, { provide: PARTICIPATES, useValue: [] }, Explorer])).toBeUndefined();
});
