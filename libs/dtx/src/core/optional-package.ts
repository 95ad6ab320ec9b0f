import { OptionsError, textOf } from './errors/errors.js';

/**
 * Loads a package that only some apps need.
 *
 * @param load as in the example. A CommonJS program has `require`, and jest cannot answer its `import()`. Each name is
 *   written out, so a bundler finds it
 * @throws OptionsError that names the package, the reason and the remedy
 * @example
 *   const { default: Redis } = await optionalPackage<typeof import('ioredis')>(
 *     'ioredis',
 *     "consumer a.b uses duplicates: 'redis'",
 *     () => (typeof require === 'function' ? require('ioredis') : import('ioredis')),
 *     'install ioredis 5 or 6',
 *   );
 */
export async function optionalPackage<T>(
  name: string,
  need: string,
  load: () => T | Promise<T>,
  remedy: string,
): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new OptionsError(`${need}, but ${name} cannot be loaded: ${textOf(error)}; ${remedy}`);
  }
}
