// The operator of a run: calls /dtx of an instance with its token, and does not look closely.
import { OperatorError } from '../../cli/operator-error.js';
import { until } from '../../cli/waits-and-progress.js';
import { call } from '../../shop/app-calls.js';

/** The message of the database while the handler of a run fails, as a parked row repeats it. */
export const HANDLER_FAULT = 'the chaos run lets this handler fail';

/** Rows that a careless operator looks at, and those of one look at the end. */
const LOOK_MAX = 5;
const ALL_MAX = 100;
const PARKED = '&state=PARKED';
const SETTLED_WITHIN_MS = 60_000;

interface Row {
  readonly id: string;
  readonly state: string;
  readonly lastError: string | null;
}

export class Operator {
  readonly counts = { retried: 0, rejected: 0 };

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /**
   * Retries some open and parked rows. Rejects some of those that the failing handler has left. Other rows are never settled by
   * hand: `done` may leave out an effect on purpose, so no invariant could tell it from a loss.
   */
  async actAtRandom(): Promise<void> {
    for (const { id } of await this.#list(LOOK_MAX)) await this.#act(id, 'retry', {});
    for (const row of await this.#list(LOOK_MAX, PARKED)) await this.#settle(row);
  }

  /**
   * After the last fault. Rows that are parked for another reason stay, and the run fails by them.
   * @throws OperatorError if rows of the failing handler are left at the limit
   */
  async settleFailedHandlers(): Promise<void> {
    let left: readonly Row[] = [];
    const isSettled = async () => {
      try {
        left = (await this.#list(ALL_MAX, PARKED)).filter(isOfFailingHandler);
        for (const row of left) await this.#settle(row);
        return left.length === 0;
      } catch {
        return false; // the app is still recovering
      }
    };
    if (await until(isSettled, { boundMs: SETTLED_WITHIN_MS, everyMs: 200 })) return;
    throw new OperatorError(
      `parked rows of the failing handler could not be settled at ${this.url}: ${left.map(({ id }) => id).join(', ')}`,
    );
  }

  async #settle(row: Row): Promise<void> {
    const isRejected = isOfFailingHandler(row) && Math.random() < 0.5;
    if (isRejected) await this.#act(row.id, 'resolve', { outcome: 'reject', note: 'chaos' });
    else await this.#act(row.id, 'retry', {});
  }

  async #list(limit: number, filter = ''): Promise<readonly Row[]> {
    const url = `${this.url}/dtx/transactions?limit=${limit}${filter}`;
    const { body } = await call<{ items?: readonly Row[] } | null>('GET', url, { headers: this.#headers });
    return body?.items ?? [];
  }

  /** A row that has settled meanwhile answers 409. */
  async #act(id: string, action: 'retry' | 'resolve', body: object): Promise<void> {
    const url = `${this.url}/dtx/transactions/${encodeURIComponent(id)}/${action}`;
    const { status } = await call('POST', url, { headers: this.#headers, body });
    if (status === 200) this.counts[action === 'retry' ? 'retried' : 'rejected']++;
  }

  get #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.token}` };
  }
}

const isOfFailingHandler = ({ lastError }: Row) => lastError?.includes(HANDLER_FAULT) ?? false;
