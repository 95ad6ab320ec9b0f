import { Callers, type CallersOptions, type Reply } from '../fixtures/repeating-callers.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';

type Final = 'CONFIRMED' | 'CANCELLED';

/** Callers who check out, and who read their order after they have got its outcome. */
export class Checkouts extends Callers<Final> {
  constructor(
    options: CallersOptions,
    private readonly orders: () => readonly string[],
  ) {
    super('/checkouts', options);
  }

  protected outcomeOf({ status, json }: Reply): Final | null {
    if (status === 201) return 'CONFIRMED';
    return status === 409 && json.orderStatus === 'CANCELLED' ? 'CANCELLED' : null;
  }

  protected override isFair(reply: Reply): boolean {
    return reply.status === 202 || super.isFair(reply);
  }

  /** The order app never contradicts the answer. */
  protected override async remember(key: string, orderId: string, status: Final): Promise<void> {
    await super.remember(key, orderId, status);
    const read = await this.fetch(this.orders(), `/orders/${orderId}`, {});
    if (read?.status !== 200) return;
    const allowed = status === 'CONFIRMED' ? ['CONFIRMED', 'PENDING'] : ['CANCELLED'];
    if (!allowed.includes(String(read.json.status)))
      this.wrong.push(`${key} was answered ${status}, its order was ${read.json.status} after that`);
  }
}

/** Every answered outcome that differs from the one on disk, at the initiator or in the order app. */
export async function lies(sandbox: Sandbox, { told }: Checkouts): Promise<string[]> {
  const transactions = await sql<{ id: string; status: string }>(
    sandbox,
    'payment',
    'SELECT id, state AS status FROM dtx_tcc',
  );
  const orders = await sql<{ id: string; status: string }>(
    sandbox,
    'order',
    'SELECT order_id AS id, status FROM orders',
  );
  const known = [transactions, orders].map((rows) => new Map(rows.map(({ id, status }) => [id, status])));
  return [...told].flatMap(([key, { orderId, status }]) => {
    const onDisk = known.map((one) => one.get(orderId) ?? 'missing');
    return onDisk.every((one) => one === status) ? [] : [`${key}: answered ${status}, on disk ${onDisk.join(' and ')}`];
  });
}
