/** Finds the methods with `@OnMessage`, `@OnRejected` and `@BeforeAck` among the providers and controllers of an app. */
import type { ModulesContainer } from '@nestjs/core';
import { OptionsError } from '../errors/errors.js';
import { decoratorOf, type HandlerMark, type MarkedMethod, markedMethods, marksOf } from './consumer-decorators.js';

type NestModule = ModulesContainer extends Map<string, infer M> ? M : never;
/** The record of Nest about one provider or controller. */
export type Wrapper = NestModule['providers'] extends Map<unknown, infer W> ? W : never;

/** One decorator of a method, on an object that Nest manages. */
export interface FoundHandler {
  readonly mark: HandlerMark;
  readonly method: string;
  /** `Class.method` with its place, for messages. */
  readonly name: string;
  readonly module: NestModule;
  /** The key of the module in the container. */
  readonly moduleKey: string;
  readonly wrapper: Wrapper;
}

/** The prototypes with handlers that a Nest application of this process manages or has managed. */
const managed = new WeakSet<object>();

/** @throws OptionsError for a handler on a class that is only a guard, pipe, interceptor or filter */
export function discoverHandlers(modules: ModulesContainer): FoundHandler[] {
  const found: FoundHandler[] = [];
  const seen = new Set<unknown>();
  const visit = (moduleKey: string, module: NestModule, wrapper: Wrapper, kind: 'provider' | 'controller') => {
    const { instance } = wrapper;
    if (wrapper.isAlias || typeof instance !== 'object' || instance === null || seen.has(instance)) return;
    seen.add(instance);
    for (const { prototype, method, marks } of methodsOf(instance)) {
      managed.add(prototype);
      const name = `${nameOf(instance)}.${method} (${kind} of ${module.metatype.name})`;
      for (const mark of marks) found.push({ mark, method, name, module, moduleKey, wrapper });
    }
  };
  for (const [key, module] of modules.entries()) {
    for (const wrapper of module.controllers.values()) visit(key, module, wrapper, 'controller');
    for (const wrapper of module.providers.values()) visit(key, module, wrapper, 'provider');
  }
  for (const module of modules.values()) for (const wrapper of module.injectables.values()) refuseEnhancer(wrapper);
  return found;
}

function refuseEnhancer({ instance }: Wrapper): void {
  if (typeof instance !== 'object' || instance === null) return;
  for (const { prototype, method, marks } of methodsOf(instance)) {
    if (managed.has(prototype)) continue;
    throw new OptionsError(
      `${decoratorOf(marks[0]!)} on ${nameOf(instance)}.${method} is not mounted: Nest manages the class only as a guard, ` +
        'pipe, interceptor or filter; list it in `providers` of a module, or move the method to another class',
    );
  }
}

/** The handlers of this app on classes that no module of any application in this process has listed. */
export function unmanagedHandlers(app: string): MarkedMethod[] {
  return markedMethods.filter(
    ({ prototype, mark }) =>
      !managed.has(prototype) && mark.contract.consumers.some((consumer) => consumer.startsWith(`${app}.`)),
  );
}

interface Method {
  readonly prototype: object;
  readonly method: string;
  readonly marks: readonly HandlerMark[];
}

/** The decorated methods of an object. An override without a decorator hides the method of its base class. */
function methodsOf(instance: object): Method[] {
  const found: Method[] = [];
  const seen = new Set<string>();
  for (
    let prototype: object | null = Object.getPrototypeOf(instance);
    prototype && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    for (const method of Object.getOwnPropertyNames(prototype)) {
      if (seen.has(method)) continue;
      seen.add(method);
      // A getter is not read, because it may have effects.
      const value: unknown = Object.getOwnPropertyDescriptor(prototype, method)?.value;
      const marks = typeof value === 'function' && method !== 'constructor' ? marksOf(value) : [];
      if (marks.length > 0) found.push({ prototype, method, marks });
    }
  }
  return found;
}

function nameOf(instance: object): string {
  return Object.getPrototypeOf(instance)?.constructor?.name || 'an object without a class';
}
