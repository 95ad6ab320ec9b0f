/** Names of TCC from before each one had a prefix. They collide with names of an application. */
import {
  Cancel as TccCancel,
  Confirm as TccConfirm,
  Confirmed as TccConfirmed,
  Try as TccTry,
} from './participant-decorators.js';

/** @deprecated Use `TccTry`. Removed in 1.0. */
export const Try = TccTry;
/** @deprecated Use `TccConfirm`. Removed in 1.0. */
export const Confirm = TccConfirm;
/** @deprecated Use `TccCancel`. Removed in 1.0. */
export const Cancel = TccCancel;
/** @deprecated Use `TccConfirmed`. Removed in 1.0. */
export const Confirmed = TccConfirmed;
