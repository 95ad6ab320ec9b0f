/** Confirmed publish. Messages are published with a publisher confirm before the local commit. */
import { ConfirmedPublishModule } from './confirmed-publish.module.js';
import type { ConfirmedPublishOptionsInput } from './options.js';
import { ConfirmedMessages } from './publish-before-commit.js';

export { ConfirmedMessages, ConfirmedPublishModule, type ConfirmedPublishOptionsInput };

/** @deprecated Use `ConfirmedPublishModule`. Removed in 1.0. */
export const ReliableMessageModule = ConfirmedPublishModule;
/** @deprecated Use `ConfirmedPublishModule`. Removed in 1.0. */
export type ReliableMessageModule = ConfirmedPublishModule;
/** @deprecated Use `ConfirmedMessages`. Removed in 1.0. */
export const ReliableMessages = ConfirmedMessages;
/** @deprecated Use `ConfirmedMessages`. Removed in 1.0. */
export type ReliableMessages = ConfirmedMessages;
/** @deprecated Use `ConfirmedPublishOptionsInput`. Removed in 1.0. */
export type ReliableMessageOptionsInput = ConfirmedPublishOptionsInput;
