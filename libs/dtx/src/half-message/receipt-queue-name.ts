import { receiptQueueOf, reserveConsumers } from '../core/broker/message-contract.js';

reserveConsumers(/^half-(check|wait)$/);

/**
 * The receipt queue of an app's half messages. It is separate from the queue of local messages, since an app may use only
 * one of the two schemes. It follows the same naming, since receivers of older versions accept no other name.
 */
export function halfReceiptQueueOf(app: string): string {
  return receiptQueueOf(`${app}--half`);
}
