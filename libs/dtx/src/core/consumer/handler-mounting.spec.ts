import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  type PipeTransform,
  type Provider,
  Scope,
  type Type,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { APP_GUARD, ModulesContainer, NestFactory, REQUEST } from '@nestjs/core';
import { EMPTY, of, tap } from 'rxjs';
import type { EntityManager } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineMessage } from '../broker/message-contract.js';
import { Rejected } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { BeforeAck, MessageContext, OnMessage } from './consumer-decorators.js';
import { endpointOf, groupByConsumer } from './endpoints.js';
import { discoverHandlers } from './handler-discovery.js';
import type { DeliveryInfo, Endpoint } from './incoming-message.js';
import { HandlerPipeline } from './nest-pipeline.js';

let count = 0;
const contractOf = ({ consumers = [`spec.c${++count}`] } = {}) =>
  defineMessage({
    name: `mounting.m${++count}`,
    version: 1,
    schema: z.object({ id: z.string() }),
    consumers,
    gid: ({ id }) => id,
  });
type Message = { id: string };
const tx = { isTransaction: true } as unknown as EntityManager;
const seen: unknown[] = [];

interface Parts {
  readonly providers?: Provider[];
  readonly controllers?: Type[];
  readonly inheritAppConfig?: boolean;
}

/** The endpoints that an application would consume. Starts no server. */
async function endpoints({ providers = [], controllers = [], inheritAppConfig = false }: Parts): Promise<Endpoint[]> {
  seen.length = 0;
  const options = { provide: CORE_OPTIONS, useValue: { app: 'spec', inheritAppConfig } };
  @Module({ providers: [HandlerPipeline, options, ...providers], controllers })
  class Service {}
  const app = await NestFactory.createApplicationContext(Service, { logger: false, abortOnError: false });
  const pipeline = app.get(HandlerPipeline);
  const groups = groupByConsumer(discoverHandlers(app.get(ModulesContainer)), { app: 'spec', otherApps: [] });
  return groups.map((group) => endpointOf(group, (one) => pipeline.build(one), tx));
}

const handle = async ([endpoint]: Endpoint[], id = 'a') =>
  endpoint!.handle(tx, () => ({ id }), { messageId: id } as DeliveryInfo);

@Injectable()
class Guard implements CanActivate {
  canActivate(context: ExecutionContext) {
    seen.push(['guard', context.getType(), context.getClass().name, context.getHandler().name]);
    return context.switchToRpc().getData<Message>().id !== 'forbidden';
  }
}
@Injectable()
class Pipe implements PipeTransform {
  transform(value: unknown, { type }: { type: string }) {
    if (type === 'body') seen.push('pipe');
    return value;
  }
}
@Injectable()
class Interceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const { tx: given } = context.switchToRpc().getContext<MessageContext>();
    return next.handle().pipe(tap(() => seen.push(['interceptor', given === tx])));
  }
}
@Catch()
class Filter implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost) {
    seen.push(['filter', host.getType(), error.message]);
    return of('answered');
  }
}

const enhanced = contractOf();
@Injectable()
@UseGuards(Guard)
@UseFilters(Filter)
class Enhanced {
  @OnMessage(enhanced)
  @UsePipes(Pipe)
  @UseInterceptors(Interceptor)
  async on(given: EntityManager, { id }: Message, { messageId }: DeliveryInfo) {
    seen.push(['handler', given === tx, id, messageId]);
    if (id === 'refused') throw new Rejected('NO');
  }
}

describe('a handler', () => {
  it.each([
    ['provider', { providers: [Enhanced] }],
    ['controller', { controllers: [Enhanced] }],
  ])('on a %s runs behind the guard, pipe and interceptor of its class and method', async (_, parts) => {
    const found = await endpoints(parts);
    await handle(found);
    expect(seen).toEqual([
      ['guard', 'rpc', 'Enhanced', 'on'],
      'pipe',
      ['handler', true, 'a', 'a'],
      ['interceptor', true],
    ]);
    expect(found[0]).toMatchObject({ consumer: enhanced.consumers[0], duplicates: 'inbox', reject: undefined });
  });

  it('fails with its own error, after a filter of the user has answered it', async () => {
    const found = await endpoints({ providers: [Enhanced] });
    await expect(handle(found, 'refused')).rejects.toThrow(new Rejected('NO'));
    expect(seen).toContainEqual(['filter', 'rpc', 'NO']);
  });

  it('is not handled if a guard refuses it', async () => {
    const found = await endpoints({ providers: [Enhanced] });
    await expect(handle(found, 'forbidden')).rejects.toThrow('the handler did not run');
    expect(seen.filter((one) => (one as string[])[0] === 'handler')).toEqual([]);
  });

  it('of two classes with one name has the parameters of its own class', async () => {
    const [first, second] = [contractOf(), contractOf()];
    const One = (() => {
      @Injectable()
      class Same {
        @OnMessage(first)
        async on(_: EntityManager, message: Message) {
          seen.push(message);
        }
      }
      return Same;
    })();
    const Two = (() => {
      @Injectable()
      class Same {
        @OnMessage(second)
        async other() {}
        @BeforeAck(second)
        async on(message: Message) {
          seen.push(message);
        }
      }
      return Same;
    })();
    const [one, two] = await endpoints({ providers: [One, Two] });
    await handle([one!]);
    await two!.beforeAck!(() => ({ id: 'b' }), {} as DeliveryInfo);
    expect(seen).toEqual([{ id: 'a' }, { id: 'b' }]);
  });

  it('may return an Observable without a value', async () => {
    const contract = contractOf();
    @Injectable()
    class Streams {
      @OnMessage(contract)
      on() {
        return EMPTY;
      }
    }
    await expect(handle(await endpoints({ providers: [Streams] }))).resolves.toBeUndefined();
  });

  it.each(['provider', 'controller'])('on a request-scoped %s has an instance per message', async (kind) => {
    const contract = contractOf();
    @Injectable({ scope: Scope.REQUEST })
    class PerMessage {
      constructor(@Inject(REQUEST) readonly request: { getData(): Message }) {}
    }
    @Injectable()
    class Scoped {
      private readonly mine: Message[] = [];
      constructor(private readonly perMessage: PerMessage) {}
      @OnMessage(contract)
      @UseGuards(Guard)
      async on() {
        this.mine.push(this.perMessage.request.getData());
        seen.push(...this.mine);
      }
    }
    if (kind === 'controller') Controller()(Scoped);
    const found = await endpoints(
      kind === 'controller' ? { controllers: [Scoped], providers: [PerMessage] } : { providers: [Scoped, PerMessage] },
    );
    await handle(found, 'a');
    await handle(found, 'b');
    const guarded = ['guard', 'rpc', 'Scoped', 'on'];
    expect(seen).toEqual([guarded, { id: 'a' }, guarded, { id: 'b' }]);
  });

  it.each([true, false])('runs behind a global guard only with inheritAppConfig (%s)', async (inheritAppConfig) => {
    const contract = contractOf();
    @Injectable()
    class Plain {
      @OnMessage(contract)
      async on() {}
    }
    const providers = [Plain, { provide: APP_GUARD, useClass: Guard }];
    await handle(await endpoints({ providers, inheritAppConfig }));
    expect(seen).toHaveLength(inheritAppConfig ? 1 : 0);
  });

  it('of a base class is mounted by the class that Nest manages', async () => {
    const contract = contractOf();
    abstract class Base {
      @OnMessage(contract)
      async on(_: EntityManager, message: Message) {
        seen.push([this.constructor.name, message.id]);
      }
    }
    @Injectable()
    class Derived extends Base {}
    await handle(await endpoints({ providers: [Derived, { provide: 'alias', useExisting: Derived }] }));
    expect(seen).toEqual([['Derived', 'a']]);
  });
});
