import { ProblemError } from '@nest-dtx/host';

/** A refused purchase, answered 409. The order is CANCELLED or does not exist. */
export class PurchaseRefused extends ProblemError {
  override readonly status = 409;
  override readonly members;

  constructor(orderId: string, reason: string) {
    super(`the purchase was refused: ${reason}`);
    this.members = { type: 'urn:nest-dtx:refused', orderId, orderStatus: 'CANCELLED', reason };
  }
}
