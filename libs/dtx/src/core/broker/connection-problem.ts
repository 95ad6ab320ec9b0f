import { textOf } from '../errors/errors.js';
import type { BrokerNode } from './broker-nodes.js';
import { reasonOfRefusedOpen } from './refused-open.js';

/** amqplib names the answer to the open of a virtual host and drops its text. */
const REFUSED_OPEN = /^Expected ConnectionOpenOk; got <ConnectionClose/;
/** The text of the broker in an error of amqplib. */
const QUOTED = /with message "(.*)"$/s;

/** What to do about a refusal. The texts are those of RabbitMQ 3.10 to 4.3, in `rabbit_reader.erl`. */
const ADVICE: ReadonlyArray<[RegExp, string]> = [
  [/^NOT_ALLOWED - vhost .* not found/, 'create it with rabbitmqctl add_vhost and set_permissions, or correct the URL'],
  [/connection limit/, 'raise the limit, or close other connections'],
  [/^NOT_ALLOWED - access to vhost/, 'grant it with rabbitmqctl set_permissions, or correct the URL'],
  [/^INTERNAL_ERROR - .* is down/, 'start the virtual host with rabbitmqctl restart_vhost'],
  [/^ACCESS_REFUSED/, 'check user and password in the URL'],
];

/** The broker's own words of an error, or the text of the error, which names the network's problem. */
export function wordsOf(error: unknown): string {
  const text = textOf(error);
  return QUOTED.exec(text)?.[1] ?? text;
}

/** The words of the broker with the remedy, if an operator has to act. */
export function withAdvice(words: string): string {
  const advice = ADVICE.find(([pattern]) => pattern.test(words));
  return advice ? `${words}; ${advice[1]}` : words;
}

/** Why a node cannot be connected, in the broker's own words, with what to do about it. */
export async function connectionProblem(error: unknown, { address }: BrokerNode): Promise<string> {
  const words = wordsOf(error);
  if (!REFUSED_OPEN.test(words)) return withAdvice(words);
  const virtualHost = decodeURIComponent(address.vhost ?? '/');
  const unknown = `RabbitMQ refused the virtual host "${virtualHost}"; check that it exists and that the account may use it`;
  return reasonOfRefusedOpen(address).then((reason) => (reason ? withAdvice(reason) : unknown));
}
