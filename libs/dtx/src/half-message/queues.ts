import { receiptQueueOf, reserveConsumers } from '../core/broker/contract.js';

reserveConsumers(/^half-(check|wait)$/);

/**
 * Where receipts for the half messages of an app go. A queue of their own, since an app may have one of the two schemes
 * only; named like the others, since receivers of an older version send receipts to nothing else.
 */
export function halfReceiptQueueOf(app: string): string {
  return receiptQueueOf(`${app}--half`);
}
