import { type CanActivate, Controller, Injectable, Module, type Provider, type Type, UseGuards } from '@nestjs/common';
import { ModulesContainer, NestFactory } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineMessage } from '../broker/message-contract.js';
import { OptionsError } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { BeforeAck, OnMessage, OnRejected } from './consumer-decorators.js';
import { endpointOf, groupByConsumer } from './endpoints.js';
import { discoverHandlers, unmanagedHandlers } from './handler-discovery.js';
import { HandlerPipeline } from './nest-pipeline.js';

let count = 0;
const contractOf = ({ consumers = [`spec.r${++count}`] } = {}) =>
  defineMessage({
    name: `refused.m${++count}`,
    version: 1,
    schema: z.object({ id: z.string() }),
    consumers,
    gid: ({ id }) => id,
  });

interface Parts {
  readonly providers?: Provider[];
  readonly controllers?: Type[];
}

async function mount({ providers = [], controllers = [] }: Parts): Promise<void> {
  const options = { provide: CORE_OPTIONS, useValue: { app: 'spec', inheritAppConfig: false } };
  @Module({ providers: [HandlerPipeline, options, ...providers], controllers })
  class Service {}
  const app = await NestFactory.createApplicationContext(Service, { logger: false, abortOnError: false });
  const pipeline = app.get(HandlerPipeline);
  for (const group of groupByConsumer(discoverHandlers(app.get(ModulesContainer)), { app: 'spec', otherApps: [] }))
    endpointOf(group, (one) => pipeline.build(one), {} as EntityManager);
}

@Injectable()
class Guard implements CanActivate {
  canActivate() {
    return true;
  }
}

describe('a start is refused', () => {
  const refusal = async (parts: Parts) => {
    const error = await mount(parts).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(OptionsError);
    return (error as Error).message;
  };
  const methodOf = (name: string, ...decorators: unknown[]): Type => {
    const { [name]: Made } = { [name]: class {} };
    for (const [index, decorate] of decorators.entries()) {
      const descriptor = { value: async () => {}, writable: true, configurable: true };
      (decorate as MethodDecorator)(Made!.prototype, `on${index}`, descriptor);
    }
    return Made as Type;
  };

  it('for a contract without a consumer of the app, by class and method', async () => {
    const contract = contractOf({ consumers: ['other.do'] });
    const text = await refusal({ providers: [methodOf('Astray', OnMessage(contract))] });
    expect(text).toContain(`@OnMessage(${contract.name} v1) on Astray.on0 (provider of Service)`);
    expect(text).toContain('no consumer in app spec, only other.do; add spec.<consumer>');
  });

  it('for two handlers of one contract', async () => {
    const contract = contractOf();
    const text = await refusal({
      providers: [methodOf('One', OnMessage(contract))],
      controllers: [methodOf('Two', OnMessage(contract))],
    });
    expect(text).toContain(
      `has two @OnMessage(${contract.name} v1): on Two.on0 (controller of Service) and on One.on0`,
    );
  });

  it('for one consumer name in two contracts, with another reason than for two handlers', async () => {
    const one = contractOf({ consumers: ['spec.shared'] });
    // `defineMessage` refuses this within one copy of the library.
    const two = { ...one, name: 'refused.other' };
    const text = await refusal({ providers: [methodOf('Both', OnMessage(one), OnMessage(two))] });
    expect(text).toContain('consumer spec.shared is named by two contracts');
    expect(text).toContain(`@OnMessage(${one.name} v1) on Both.on0`);
    expect(text).toContain(`@OnMessage(${two.name} v1) on Both.on1`);
    expect(text).toContain('would share queue dtx.spec.shared.v1; give each contract a consumer name of its own');
  });

  it('for duplicates by Redis with inOrderOf, because a late duplicate could run after its successor', async () => {
    const contract = { ...contractOf(), inOrderOf: { stream: 'refused', key: () => 'one' } };
    const text = await refusal({ providers: [methodOf('Ordered', OnMessage(contract, { duplicates: 'redis' }))] });
    expect(text).toContain(`uses duplicates: 'redis' on Ordered.on0`);
    expect(text).toContain(`${contract.name} has inOrderOf; a late duplicate could run after its successor, so use`);
  });

  it.each([
    ['OnRejected', OnRejected],
    ['BeforeAck', BeforeAck],
  ])('for an @%s without an @OnMessage', async (name, decorate) => {
    const contract = contractOf();
    const text = await refusal({ providers: [methodOf('Half', decorate(contract))] });
    expect(text).toContain(`has a @${name}(${contract.name} v1) on Half.on0`);
    expect(text).toContain('but no @OnMessage');
  });

  it('for a handler on a class that is only a guard', async () => {
    const contract = contractOf();
    class Busy implements CanActivate {
      canActivate = () => true;
      @OnMessage(contract)
      async on() {}
    }
    @Controller()
    @UseGuards(Busy)
    class Guarded {}
    expect(await refusal({ controllers: [Guarded] })).toContain('on Busy.on is not mounted');
  });

  it('for a guard by its class at a handler that a factory makes, because Nest would leave the guard out', async () => {
    const contract = contractOf();
    class Made {
      @OnMessage(contract)
      @UseGuards(Guard)
      async on() {}
    }
    const text = await refusal({ providers: [{ provide: 'made', useFactory: () => new Made() }] });
    expect(text).toContain('Made.on (provider of Service) uses the guard Guard');
  });

  it('for a static method', () => {
    const decorate = () => {
      class Fixed {
        static async on() {}
      }
      const descriptor = Object.getOwnPropertyDescriptor(Fixed, 'on')!;
      (OnMessage(contractOf()) as MethodDecorator)(Fixed, 'on', descriptor);
    };
    expect(decorate).toThrow(/on Fixed\.on: the method is static/);
  });
});

it('a class that no module lists is named until an application lists it', async () => {
  const contract = contractOf();
  @Injectable()
  class Forgotten {
    @OnMessage(contract)
    async on() {}
  }
  const named = () =>
    unmanagedHandlers('spec').map(({ prototype, method }) => `${prototype.constructor.name}.${method}`);
  await mount({});
  expect(named()).toContain('Forgotten.on');
  expect(unmanagedHandlers('other')).toEqual([]);
  await mount({ providers: [Forgotten] });
  expect(named()).not.toContain('Forgotten.on');
});
