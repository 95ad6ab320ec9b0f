/** Best-effort notification: signed webhooks, retried on a schedule, with an inquiry for a receiver that missed one. */
import type { Notification as DtxNotification } from './publish-notification.js';

export { type Inquiries, Inquiry } from './inquiry.js';
export { NotifyModule } from './notify.module.js';
export type { NotifyOptionsInput } from './options.js';
export { Notifications } from './publish-notification.js';
export { isNotifySecret, SignatureInvalid, verifySignature } from './signature.js';
export { isAllowEntry } from './ssrf-guard.js';
export type { DtxNotification };

/** @deprecated Use `DtxNotification`. Removed in 1.0. */
export type Notification = DtxNotification;
