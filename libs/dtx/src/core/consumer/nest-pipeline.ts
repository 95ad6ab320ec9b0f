import { Catch, type ExceptionFilter, Inject, Injectable } from '@nestjs/common';
import {
  ApplicationConfig,
  ContextIdFactory,
  ExternalContextCreator,
  ModuleRef,
  type NestContainer,
} from '@nestjs/core';
import { isObservable, lastValueFrom, type Observable, throwError } from 'rxjs';
import { OptionsError } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';
import type { MessageContext } from './consumer-decorators.js';
import type { FoundHandler } from './handler-discovery.js';

/** A handler behind its pipes, guards, interceptors and filters. The result may be an Observable. */
export type Run = (payload: unknown, context: MessageContext) => Promise<unknown>;

/** The key under which Nest keeps the parameter decorators of a method, for HTTP and messages alike. */
const PARAMETERS = '__routeArguments__';
/** The numbers of `@Payload()` and `@Ctx()` in that metadata. The same in Nest 11 and 12. */
const PAYLOAD = 3;
const CONTEXT = 6;

/** The keys under which Nest keeps the enhancers of a class or method. */
const ENHANCERS = {
  guard: '__guards__',
  pipe: '__pipes__',
  interceptor: '__interceptors__',
  filter: '__exceptionFilters__',
};

/** Rethrows the error of a handler. Without this filter, Nest logs each error, also one that is retried. */
@Catch()
class PassOn implements ExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}

/**
 * Gives an Observable without a value the value `undefined`, because Nest treats its end as an error. An interceptor would do
 * the same, and cost each message the Observables of Nest.
 */
const resultOf = async (result: unknown): Promise<unknown> =>
  isObservable(result) ? lastValueFrom(result, { defaultValue: undefined }) : result;

/** The request of a delivery, for request-scoped providers that inject REQUEST. */
class MessageRequest {
  constructor(
    readonly data: unknown,
    readonly context: MessageContext,
  ) {}

  getData(): unknown {
    return this.data;
  }

  getContext(): MessageContext {
    return this.context;
  }
}

const parametersOfMessage = {
  exchangeKeyForValue(type: number, name: unknown, [payload, context]: unknown[]): unknown {
    if (type === CONTEXT) return context;
    if (type !== PAYLOAD) return null;
    return typeof name === 'string' ? (payload as Record<string, unknown> | null)?.[name] : payload;
  },
};

/**
 * Builds the pipeline of Nest around a handler: the pipes, guards, interceptors and filters of its class and method,
 * parameter decorators, and an instance per message for a request-scoped class. With `inheritAppConfig`, the global
 * ones of the application apply too. It uses the context creator for foreign entry points, which is the same in Nest 11
 * and 12 and needs no transport.
 */
@Injectable()
export class HandlerPipeline {
  constructor(
    private readonly external: ExternalContextCreator,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** @throws OptionsError for an enhancer that Nest has not created */
  build(handler: FoundHandler): Run {
    refuseMissingEnhancers(handler);
    const { wrapper, moduleKey, method, module } = handler;
    // One creator per handler, because its cache knows providers only by their class name.
    const creator = ExternalContextCreator.fromContainer(this.container());
    creator.getContextModuleKey = () => moduleKey;
    creator.transformToResult = resultOf;
    passWithoutPipes(creator);
    const create = (of: unknown, contextId?: ReturnType<typeof ContextIdFactory.create>): Run => {
      const instance = of as Record<string, (...args: unknown[]) => unknown>;
      const run = instance[method]!;
      const inquirer = contextId && wrapper.id;
      const scope = [contextId, inquirer, undefined] as const;
      return creator.create(instance, run, method, PARAMETERS, parametersOfMessage, ...scope, 'rpc') as Run;
    };
    if (wrapper.isDependencyTreeStatic() && !wrapper.isTransient) return create(wrapper.instance);
    const moduleRef: ModuleRef = module.getProviderByKey<ModuleRef>(ModuleRef)!.instance;
    return async (payload, context) => {
      const request = new MessageRequest(payload, context);
      const contextId = ContextIdFactory.getByRequest(request);
      // A durable provider gets the payload of its context strategy instead of the request.
      const shared = (contextId as { payload?: unknown }).payload;
      moduleRef.registerRequestByContextId(
        wrapper.isDependencyTreeDurable() ? shared : Object.assign(request, shared),
        contextId,
      );
      const instance = await moduleRef.resolve(wrapper.token, contextId, { strict: true });
      return create(instance, contextId)(payload, context);
    };
  }

  /** The container of the application, with the global enhancers that apply to messages. */
  private container(): NestContainer {
    const { container } = this.external as unknown as { container?: NestContainer };
    if (!container)
      throw new OptionsError('cannot mount handlers: this @nestjs/core has no container; install Nest ^11.1.3 or ^12');
    const global = this.options.inheritAppConfig ? container.applicationConfig : undefined;
    const config: ApplicationConfig = Object.create(global ?? new ApplicationConfig());
    const filters = config.getGlobalFilters();
    // Filters of the user run first. The first in the list runs last.
    config.getGlobalFilters = () => [new PassOn(), ...filters];
    return Object.create(container, { applicationConfig: { value: config } });
  }
}

const isPromise = (value: unknown): boolean =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/** Nest awaits each parameter several times, also one without a pipe. Parameters without pipes are passed at once. */
function passWithoutPipes(creator: ExternalContextCreator): void {
  const create = creator.createPipesFn.bind(creator);
  creator.createPipesFn = (pipes, parameters) => {
    if (pipes.length > 0 || parameters.length === 0 || parameters.some((one) => one.pipes.length > 0))
      return create(pipes, parameters);
    return async (args, ...given) => {
      for (const { index, extractValue } of parameters) {
        const value: unknown = extractValue(...given);
        args[index] = isPromise(value) ? await value : value;
      }
    };
  };
}

/**
 * Nest creates a guard given as a class only for a class that a module lists by itself. For a provider by `useClass`,
 * `useFactory` or `useValue` it would leave the guard out without a word.
 */
function refuseMissingEnhancers({ name, method, module, wrapper }: FoundHandler): void {
  const prototype = Object.getPrototypeOf(wrapper.instance);
  for (const [kind, key] of Object.entries(ENHANCERS)) {
    for (const place of [prototype.constructor, prototype[method]]) {
      const given: readonly unknown[] = Reflect.getMetadata(key, place) ?? [];
      for (const type of given) {
        if (typeof type !== 'function' || module.injectables.has(type)) continue;
        throw new OptionsError(
          `${name} uses the ${kind} ${type.name}, which Nest creates only for a class in \`providers\` or \`controllers\`; ` +
            `list the class of the handler itself, or use an object: new ${type.name}()`,
        );
      }
    }
  }
}
