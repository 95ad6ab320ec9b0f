/**
 * Entry of the scheme XA: two-phase commit over several databases, with presumed abort. The last resource holds the
 * decision log.
 */
export type { BranchDatabase } from './branch-database.js';
export type { XaOptionsInput } from './options.js';
export type { XaRun } from './run-options.js';
export { Xa } from './transaction.js';
export { XaModule, type XaModuleOptions } from './xa.module.js';
export { XaUnavailable } from './xa-unavailable.js';
export { FORMAT_ID as XA_FORMAT_ID, parseGtrid as parseXaGtrid } from './xid.js';
