import { DtxError, OptionsError } from '../errors/errors.js';

/** Whether later messages of a key wait for a parked one, or pass it. */
export type OnParked = 'wait' | 'pass';

/**
 * The order of the messages of one key. Contracts of one stream share it. Each consumer handles the messages of a key in
 * the order in which their transactions committed: a message is sent when every consumer has handled its predecessor.
 */
export interface MessageOrder<Payload = unknown> {
  /** The name of the order, 1 to 39 of `a-z 0-9 -`, such as `invoice`. */
  readonly stream: string;
  /** Returns the key of a message: 1 to 100 printable ASCII characters without spaces, such as an invoice id. */
  key(payload: Payload): string;
  /**
   * `wait` (default): a parked message holds the later ones of its key until an operator retries or resolves it. `pass`:
   * the later ones go on, and a retry of the parked one comes after them.
   */
  readonly onParked?: OnParked | undefined;
}

/** The place of a message in its order. */
export interface OrderPlace {
  /** `<stream>:<key>` */
  readonly streamKey: string;
  readonly onParked: OnParked;
}

/** A contract, as far as its order is concerned. */
interface Ordered<Payload = unknown> {
  readonly name: string;
  readonly version: number;
  readonly inOrderOf?: MessageOrder<Payload> | undefined;
}

const STREAM = /^[a-z][a-z0-9-]{0,38}$/;
const KEY = /^[!-~]{1,100}$/;

/** What the contracts of this process say about each stream. */
const streams = new Map<string, { readonly onParked: OnParked; readonly contract: string }>();

/** Whether a contract of this process keeps an order. */
export function hasOrderedContracts(): boolean {
  return streams.size > 0;
}

/**
 * Checks the option `inOrderOf` of a contract, and notes its stream.
 * @throws OptionsError that names the contract
 */
export function takeStream(
  contract: Ordered & { replicated?: boolean | undefined; receipts?: boolean | undefined },
  about: string,
): void {
  const { inOrderOf, name } = contract;
  if (!inOrderOf) return;
  const { stream, onParked = 'wait' } = inOrderOf;
  if (typeof stream !== 'string' || !STREAM.test(stream))
    throw new OptionsError(`${about}: inOrderOf.stream ${stream} is not 1 to 39 of a-z, 0-9 and -`);
  if (typeof inOrderOf.key !== 'function')
    throw new OptionsError(`${about}: inOrderOf.key is not a function; return the key of a message`);
  if (onParked !== 'wait' && onParked !== 'pass')
    throw new OptionsError(`${about}: inOrderOf.onParked is ${onParked}; expected wait or pass`);
  if (contract.receipts === false)
    throw new OptionsError(
      `${about}: inOrderOf needs receipts, which show that a message is handled; remove receipts: false`,
    );
  if (contract.replicated)
    throw new OptionsError(
      `${about}: inOrderOf needs a row at the sender, which a replicated contract does not have; remove replicated`,
    );
  const known = streams.get(stream);
  if (known && known.onParked !== onParked)
    throw new OptionsError(
      `${about}: stream ${stream} has onParked '${known.onParked}' in ${known.contract} and '${onParked}' here; use one value`,
    );
  streams.set(stream, known ?? { onParked, contract: name });
}

/** The place of a message, or null without `inOrderOf`. @throws DtxError for an invalid key */
export function orderPlaceOf<P>({ name, version, inOrderOf }: Ordered<P>, payload: P): OrderPlace | null {
  if (!inOrderOf) return null;
  const key: unknown = inOrderOf.key(payload);
  if (typeof key !== 'string' || !KEY.test(key))
    throw new DtxError(
      `cannot append ${name} v${version}: its inOrderOf.key returned ${JSON.stringify(key)?.slice(0, 120)}; expected 1 to 100 printable ASCII characters without spaces`,
    );
  return { streamKey: `${inOrderOf.stream}:${key}`, onParked: inOrderOf.onParked ?? 'wait' };
}

/** @throws DtxError for a contract with `inOrderOf`, in a scheme that keeps no order */
export function refuseOrder<P>({ name, version, inOrderOf }: Ordered<P>, action: string): void {
  if (inOrderOf)
    throw new DtxError(
      `cannot ${action} ${name} v${version}: contract has inOrderOf, which only the local message table keeps`,
    );
}

/** What a parked message holds up, for the alert at its receiver. Empty if nothing waits for it. */
export function heldKeyNote<P>(contract: Ordered<P>, payload: (() => P) | null): string {
  if (!contract.inOrderOf || contract.inOrderOf.onParked === 'pass') return '';
  let key = 'its key';
  try {
    if (payload) key = `key ${orderPlaceOf(contract, payload())!.streamKey}`;
  } catch {
    // A payload without a valid key was not sent by this library.
  }
  return `; later messages of ${key} wait for it at the sender`;
}
