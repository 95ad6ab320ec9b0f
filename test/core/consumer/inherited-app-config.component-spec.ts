import { Injectable } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { append, closeAll, createHttp, library, moduleOf, untilHandled } from './applications.js';

const contract = contractOf(library, 'refused');
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('inherit', { audited: false });
});
afterEach(closeAll);

/** The seven ways to a global guard, pipe, interceptor or filter. Each notes the messages that it has seen. */
const seenBy = new Map<string, Set<string>>();
const note = (kind: string) => seenBy.set(kind, (seenBy.get(kind) ?? new Set()).add('rpc'));
const guardOf = (kind: string) => ({
  canActivate: (context: { getType(): string }) => {
    if (context.getType() === 'rpc') note(kind);
    return true;
  },
});
const pipeOf = (kind: string) => ({
  transform: (value: unknown) => {
    note(kind);
    return value;
  },
});
const interceptorOf = (kind: string) => ({
  intercept: (context: { getType(): string }, next: { handle(): unknown }) => {
    if (context.getType() === 'rpc') note(kind);
    return next.handle();
  },
});
const filterOf = (kind: string) => {
  class Noting {
    catch(error: unknown, host: { getType(): string }) {
      if (host.getType() === 'rpc') note(kind);
      throw error;
    }
  }
  Reflect.defineMetadata('__filterCatchExceptions__', [], Noting);
  return new Noting();
};
const KINDS = [
  'APP_FILTER',
  'APP_GUARD',
  'APP_INTERCEPTOR',
  'APP_PIPE',
  'useGlobalGuards',
  'useGlobalInterceptors',
  'useGlobalPipes',
];

describe('global guards, pipes, interceptors and filters', () => {
  test.each([
    ['all apply with inheritAppConfig: true', true, KINDS],
    ['none applies by default', undefined, []],
  ])('%s', async (_, inheritAppConfig, expected) => {
    seenBy.clear();
    const refused: string[] = [];
    @Injectable()
    class Refusing {
      @library.OnMessage(contract)
      async on() {
        throw new library.Rejected('NO');
      }
      @library.OnRejected(contract)
      async refuse(_tx: EntityManager, { gid }: { gid: string }, no: { reason: string }) {
        refused.push(`${gid} ${no.reason}`);
      }
    }
    const providers = [
      Refusing,
      { provide: APP_FILTER, useValue: filterOf('APP_FILTER') },
      { provide: APP_GUARD, useValue: guardOf('APP_GUARD') },
      { provide: APP_INTERCEPTOR, useValue: interceptorOf('APP_INTERCEPTOR') },
      { provide: APP_PIPE, useValue: pipeOf('APP_PIPE') },
    ];
    const core = inheritAppConfig === undefined ? {} : { inheritAppConfig };
    const app = await createHttp(moduleOf(sandbox, { providers, core }));
    app.useGlobalGuards(guardOf('useGlobalGuards'));
    app.useGlobalInterceptors(interceptorOf('useGlobalInterceptors') as never);
    app.useGlobalPipes(pipeOf('useGlobalPipes'));
    await app.init();
    const gid = await append(app, contract);
    await untilHandled(sandbox, gid);
    expect([...seenBy.keys()].sort()).toEqual(expected);
    expect(refused).toEqual([`${gid} NO`]);
  });
});
