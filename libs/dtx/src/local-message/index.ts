/** The local message table (transactional outbox): messages that are committed with the business. */
export { LocalMessageModule } from './local-message.module.js';
export type { LocalMessageOptionsInput } from './options.js';
export { LocalMessages } from './outbox.js';
