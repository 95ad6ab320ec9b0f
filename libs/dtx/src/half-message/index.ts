/** Half messages with check-back: prepared before the local transaction, delivered by its verdict. */
export { HalfMessageModule } from './half-message.module.js';
export type { HalfMessageOptionsInput } from './options.js';
export { HalfMessages, RuledBack } from './prepare.js';
