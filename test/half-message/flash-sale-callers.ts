import { Callers, type CallersOptions, type Reply } from '../fixtures/repeating-callers.js';

/** Callers who buy in a flash sale: accepted, or refused at once. */
export class FlashSales extends Callers<202 | 409> {
  constructor(options: CallersOptions) {
    super('/flash-sales', options);
  }

  ids(status: 202 | 409): string[] {
    return [...this.told.values()].filter((one) => one.status === status).map(({ orderId }) => orderId);
  }

  protected outcomeOf({ status, json }: Reply): 202 | 409 | null {
    if (status === 202) return 202;
    return status === 409 && json.reason === 'OUT_OF_STOCK' ? 409 : null;
  }
}
