import 'reflect-metadata';
import { type Type } from '@nestjs/common';
import { DiscoveryModule, NestFactory } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { Installation } from '../core/installation.js';
import type { TccBranch, TccMethods } from './participant-class-types.js';
import { defineParticipant } from './participant-contract.js';
import { Cancel, Confirm, TccParticipant, Try } from './participant-decorators.js';
import { Explorer, type MountedParticipant, PARTICIPATES } from './participant-discovery.js';

const funds = defineParticipant({ name: 'payment.funds', version: 1, args: z.object({ cents: z.int() }) });
const other = defineParticipant({ ...funds, version: 2 });
const tx = {} as EntityManager;
const branch = { gid: 'g', branch: 0 } as TccBranch<undefined>;

/** Discovers a participant as at the start of an app. */
async function explore(...participants: Type[]): Promise<MountedParticipant[]> {
  class App {}
  const providers = [
    { provide: Installation, useValue: { app: 'payment' } },
    { provide: PARTICIPATES, useValue: [] },
    Explorer,
    ...participants,
  ];
  const module = { module: App, imports: [DiscoveryModule], providers };
  const app = await NestFactory.createApplicationContext(module, { logger: false, abortOnError: false });
  try {
    return app.get(Explorer).explore();
  } finally {
    await app.close();
  }
}

it('finds the methods that the class decorator names, bound to the instance', async () => {
  @TccParticipant(funds, { try: 'freeze', confirm: 'capture', cancel: 'release', confirmed: 'tell' })
  class FreezeFunds {
    private readonly calls: string[] = [];
    freeze(_tx: EntityManager, { cents }: { cents: number }) {
      this.calls.push(`freeze ${cents}`);
    }
    capture() {
      this.calls.push('capture');
    }
    release() {
      this.calls.push('release');
    }
    tell() {
      return this.calls;
    }
  }
  const [mounted] = await explore(FreezeFunds);
  expect(mounted).toMatchObject({ contract: funds, cancelWithoutTry: false });
  for (const phase of ['try', 'confirm', 'cancel'] as const) await mounted![phase](tx, { cents: 7 }, branch);
  expect(mounted!.confirmed!({ cents: 7 }, branch)).toEqual(['freeze 7', 'capture', 'release']);
});

it('calls Cancel without a Try if the class decorator says so', async () => {
  @TccParticipant(funds, { try: 'a', confirm: 'a', cancel: 'a', cancelWithoutTry: true })
  class One {
    a() {}
  }
  expect(await explore(One)).toMatchObject([{ cancelWithoutTry: true, confirmed: undefined }]);
});

it('refuses the start for a named method that the class does not have', async () => {
  class Untyped {
    a() {}
  }
  TccParticipant(funds, { try: 'a', confirm: 'a', cancel: 'gone' } as TccMethods)(Untyped as never);
  await expect(explore(Untyped)).rejects.toThrow(
    'TCC participant payment.funds v1 (Untyped) has no method gone for cancel',
  );
});

it('refuses the start for named methods beside decorated ones', async () => {
  @TccParticipant(funds, { try: 'a', confirm: 'a', cancel: 'a' })
  class Both {
    @Try() a() {}
  }
  await expect(explore(Both)).rejects.toThrow(/\(Both\) names its methods in @TccParticipant; remove @TccTry/);
});

it('refuses the start for a method that is decorated for another contract', async () => {
  @TccParticipant(funds)
  class Mixed {
    @Try(funds) a() {}
    @Confirm() b() {}
    @Cancel(other) c() {}
  }
  await expect(explore(Mixed)).rejects.toThrow(
    /\(Mixed\) has a method for another contract: c is for payment\.funds v2/,
  );
});
