/** The local message table (transactional outbox). Messages are committed in the business transaction. */
export { type Delay, type DelayOptions, NameTaken, type WhichMessage } from './delay.js';
export { LocalMessageModule } from './local-message.module.js';
export type { LocalMessageOptionsInput } from './options.js';
export { LocalMessages } from './outbox.js';
export type { CancelAnswer } from './withdraw.js';
