import { DtxError } from '../core/errors/errors.js';

/**
 * Checks the database names of an XA transaction. The app's own name may be among them.
 * @throws DtxError for a name that is not configured, for a name that is given twice, or without a branch database
 */
export function checkBranchNames(names: readonly string[], known: { app: string; branches: readonly string[] }): void {
  const wanted = names.filter((name) => name !== known.app);
  const unknown = wanted.find((name) => !known.branches.includes(name));
  const configured = [known.app, ...known.branches].join(', ');
  if (unknown !== undefined) throw new DtxError(`unknown XA database "${unknown}"; configured: ${configured}`);
  if (wanted.length === 0 || new Set(wanted).size < wanted.length)
    throw new DtxError(`an XA transaction needs at least one branch database, each once: got ${names.join(', ')}`);
}
