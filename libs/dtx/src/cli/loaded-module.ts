import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { textOf } from '../core/errors/errors.js';
import { UsageError } from './command.js';

/**
 * The exports of a built module of the app, by a path from the working directory. ES modules load as well, unless they
 * have a top-level await.
 * @throws UsageError if it cannot be loaded
 */
export function loadedModule(option: string, path: string): Readonly<Record<string, unknown>> {
  const file = resolve(path);
  try {
    return createRequire(file)(file);
  } catch (error) {
    throw new UsageError(`cannot load --${option} ${path}: ${textOf(error).split('\n')[0]}`);
  }
}

/** Exported values, with those in exported lists and objects. */
export function exportedValues(exported: Readonly<Record<string, unknown>>): unknown[] {
  const values = Object.values(exported);
  const isGroup = (value: unknown) => value !== null && typeof value === 'object';
  return [...values, ...values.filter(isGroup).flatMap((value) => Object.values(value as object))];
}
