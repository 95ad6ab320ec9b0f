/** Half messages with check-back. They are prepared before the local transaction and published after its commit. */
export { HalfMessageModule } from './half-message.module.js';
export type { HalfMessageOptionsInput } from './options.js';
export { HalfMessages, RuledBack } from './send-half-message.js';
