/** Entry of the scheme TCC: Try, Confirm and Cancel, with a barrier at the participants. */

export type { TccCalls } from './define-branches.js';
export * from './deprecated-names.js';
export type { TccOptionsInput } from './options.js';
export type { TccBranch, TccMethods } from './participant-class-types.js';
export { type ArgsOf, defineParticipant, type Participant } from './participant-contract.js';
export {
  Cancel as TccCancel,
  Confirm as TccConfirm,
  Confirmed as TccConfirmed,
  TccParticipant,
  Try as TccTry,
} from './participant-decorators.js';
export type { TccRun } from './run-options.js';
export type { TccOutcome } from './stored-outcome.js';
export { TccModule, type TccModuleOptions } from './tcc.module.js';
export { Tcc } from './transaction.js';
