import {
  type ConfigurableModuleAsyncOptions,
  ConfigurableModuleBuilder,
  type DynamicModule,
  type InjectionToken,
  type ModuleMetadata,
  type Provider,
  type Type,
} from '@nestjs/common';
import { Operations } from './durable/operations-registry.js';
import { OptionsError } from './errors/errors.js';
import { moduleOf } from './module-of-data-source.js';

/** Injection token of the options as given, inside each module of the library. They are not checked yet. */
export const GIVEN_OPTIONS = Symbol('dtx given options');

/** Extras of every module, beside its checked options. They shape the module, so no factory returns them. */
export interface ModuleScope {
  /** Whether each module of the application sees the services. The default is true, and false for `OpsModule`. */
  isGlobal?: boolean;
  /** Modules that this one depends on, such as a `DtxModule` with `isGlobal: false`. */
  imports?: NonNullable<ModuleMetadata['imports']>;
  /**
   * The `dataSource` of the `DtxModule` that this module uses, in an application with several. It is the same as an entry
   * of that `DtxModule` in `imports`. Without it the module uses the global one.
   */
  dataSource?: InjectionToken;
}

/**
 * Options that come from other providers, as in each Nest module: one of `useFactory` (with `inject`), `useClass` and
 * `useExisting`. The class has the method that is named here. `imports` are the modules of the injected providers.
 */
export type AsyncModuleOptions<Given, Method extends string> = ConfigurableModuleAsyncOptions<Given, Method> &
  ModuleScope;

/** What a module of the library consists of. */
export interface ModuleParts<Given, Method extends string> extends ModuleMetadata {
  /** Name of the module and its static methods, for error messages. */
  readonly name: string;
  /** Method of a class for `useClass` and `useExisting`. Different modules have different ones, so one class serves all. */
  readonly factoryMethod: Method;
  /** The default of the extra `isGlobal`. */
  readonly isGlobal?: boolean;
  /** Values that are read from the options: injection token, and a function that checks and returns the value. */
  readonly values: ReadonlyArray<readonly [token: symbol, read: (given: Given) => unknown]>;
}

/** Both ways to make a module. */
export interface ConfigurableModule<Given, Method extends string> {
  /** @throws OptionsError that names every wrong option */
  forRoot(module: Type, options: Given & ModuleScope): DynamicModule;
  /** The options are checked at the start of the application, which fails with the same OptionsError. */
  forRootAsync(module: Type, options: AsyncModuleOptions<Given, Method>): DynamicModule;
}

/**
 * Builds on `ConfigurableModuleBuilder` of Nest. A service injects checked options only: the builder provides the options
 * as given, and each value is read from them by its own provider. So options may be given at once or by a factory.
 */
export function configurableModule<Given extends object, Method extends string>({
  name,
  factoryMethod,
  isGlobal: isGlobalByDefault = true,
  values,
  ...parts
}: ModuleParts<Given, Method>): ConfigurableModule<Given, Method> {
  const checked: Provider[] = values.map(([provide, read]) => ({
    provide,
    useFactory: (given: Given, operations?: Operations) => {
      const value = read(asObject(name, given));
      operations?.registerOptions(name, value);
      return value;
    },
    inject: [GIVEN_OPTIONS, { token: Operations, optional: true }],
  }));
  const { ConfigurableModuleClass: Base } = new ConfigurableModuleBuilder<Given>({
    optionsInjectionToken: GIVEN_OPTIONS,
  })
    .setClassMethodName('forRoot')
    .setFactoryMethodName(factoryMethod)
    .setExtras<ModuleScope>(
      { isGlobal: isGlobalByDefault, imports: [], dataSource: undefined },
      (definition, { isGlobal, imports = [], dataSource }) => ({
        ...parts,
        ...definition,
        global: isGlobal ?? isGlobalByDefault,
        imports: [
          ...(definition.imports ?? []),
          ...imports,
          ...(dataSource === undefined ? [] : [moduleOf(dataSource, name)]),
          ...(parts.imports ?? []),
        ],
        providers: [...(definition.providers ?? []), ...checked, ...(parts.providers ?? [])],
      }),
    )
    .build();
  return {
    forRoot(module, options) {
      const { isGlobal: _scope, imports: _imports, dataSource: _source, ...given } = { ...options };
      for (const [, read] of values) read(given as unknown as Given);
      return { ...Base.forRoot(options), module };
    },
    forRootAsync(module, options) {
      checkSource(name, options);
      return { ...Base.forRootAsync(options), module };
    },
  };
}

function asObject<Given extends object>(name: string, given: Given): Given {
  if (typeof given === 'object' && given !== null) return given;
  throw new OptionsError(`${name}: the options factory returned ${JSON.stringify(given)}; return an object of options`);
}

/** A missing source would show as an unresolved dependency `undefined`. */
function checkSource(
  name: string,
  { useFactory, useClass, useExisting }: { useFactory?: unknown; useClass?: unknown; useExisting?: InjectionToken },
): void {
  const given = [useFactory, useClass, useExisting].filter((source) => source !== undefined);
  if (given.length === 1) return;
  throw new OptionsError(`${name}: got ${given.length} of useFactory, useClass and useExisting; give one of them`);
}
