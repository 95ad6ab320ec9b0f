import type { InjectionToken } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import { OptionsError } from './errors/errors.js';

/** Classes of a scheme's users. Without the module of the scheme no code calls them. */
export interface ClassesOfScheme {
  /** Metadata key of the classes. */
  readonly metadata: symbol;
  /** As in source code, such as `@TccParticipant`. */
  readonly decorator: string;
  /** The class that serves them, such as `TccModule`. */
  readonly module: string;
  /** A provider that the module always has. */
  readonly provider: InjectionToken;
}

const kinds: ClassesOfScheme[] = [];

/** Registers the decorator of a scheme. The core imports no scheme. */
export function declareClasses(kind: ClassesOfScheme): void {
  kinds.push(kind);
}

/** @throws OptionsError that names the class and the missing module */
export function refuseUnservedClasses(modules: ModulesContainer): void {
  const every = [...modules.values()];
  for (const { metadata, decorator, module, provider } of kinds) {
    if (every.some(({ providers }) => providers.has(provider))) continue;
    for (const { metatype } of every.flatMap(({ providers }) => [...providers.values()]))
      if (metatype && Reflect.hasMetadata(metadata, metatype))
        throw new OptionsError(
          `${decorator} on ${metatype.name} needs ${module}; add ${module}.forRoot() to the imports`,
        );
  }
}
