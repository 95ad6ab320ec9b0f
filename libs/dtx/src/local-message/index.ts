/** The local message table (transactional outbox). Messages are committed in the business transaction. */
export { LocalMessageModule } from './local-message.module.js';
export type { LocalMessageOptionsInput } from './options.js';
export { LocalMessages } from './outbox.js';
