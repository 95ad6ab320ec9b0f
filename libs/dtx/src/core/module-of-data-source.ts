import { type DynamicModule, type ForwardReference, forwardRef, type InjectionToken } from '@nestjs/common';
import { OptionsError } from './errors/errors.js';

/** The `DtxModule`s of this process by their `dataSource`. The last one counts, since an application may be made again. */
const defined = new Map<InjectionToken, DynamicModule>();

/** Keeps the definition for the modules that name its DataSource. Nest knows a dynamic module by its reference. */
export function defineModuleOf(dataSource: InjectionToken | undefined, definition: DynamicModule): DynamicModule {
  if (dataSource !== undefined) defined.set(dataSource, definition);
  return definition;
}

/**
 * The `DtxModule` of a DataSource, for `imports`. It may also stand later in the list of modules.
 * @param who the module that names the DataSource, for the error at the start
 */
export function moduleOf(dataSource: InjectionToken, who: string): DynamicModule | ForwardReference {
  return defined.get(dataSource) ?? forwardRef(() => foundModule(dataSource, who));
}

/** @throws OptionsError if no `DtxModule` has this DataSource */
function foundModule(dataSource: InjectionToken, who: string): DynamicModule {
  const found = defined.get(dataSource);
  if (found) return found;
  const others = [...defined.keys()].map(nameOf).join(', ') || 'none';
  throw new OptionsError(
    `${who}: no DtxModule has dataSource: ${nameOf(dataSource)}; give DtxModule.forRoot the same dataSource, use one of ` +
      `those that exist (${others}), or leave it out here`,
  );
}

const nameOf = (dataSource: InjectionToken) =>
  typeof dataSource === 'function' ? dataSource.name : String(dataSource);
