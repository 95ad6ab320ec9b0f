import { DtxError } from '../errors/errors.js';
import type { Contract } from './message-contract.js';

/**
 * Fails clearly for anything but a contract: swapped arguments, or an import that is undefined in a circle.
 * @param call the call in the error
 * @throws DtxError
 */
export function mustBeContract(given: unknown, call: string): void {
  const { name, gid, schema } = (given ?? {}) as Partial<Contract>;
  if (typeof name === 'string' && typeof gid === 'function' && schema !== undefined) return;
  const what = given === undefined ? 'undefined, perhaps by a circular import' : `a value of type ${typeof given}`;
  throw new DtxError(`${call} needs a message contract of defineMessage, and got ${what}; check its arguments`);
}
