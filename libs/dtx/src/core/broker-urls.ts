import { OptionsError } from './errors/errors.js';
import { parseServerUrl, type ServerUrl } from './server-url.js';

/** More nodes than a RabbitMQ cluster usefully has. The limit keeps a full round of attempts short. */
const URLS_MAX = 16;
const COMMA = 'a comma in user, password or virtual host must be percent-encoded as %2C';

/**
 * Parses the URLs of the nodes of one RabbitMQ cluster: one text with commas, or a list. They differ only in host and
 * port. A list of `amqp` and `amqps` is rejected, because a random node would decide whether the password is encrypted.
 * @throws OptionsError with one line that completes a sentence, names the wrong URL by its number and omits all values
 * @example
 *   parseBrokerUrls('amqp://mq1/shop,amqp://mq2/shop').map(({ host }) => host); // ['mq1', 'mq2']
 */
export function parseBrokerUrls(given: string | readonly string[]): readonly ServerUrl[] {
  const texts = [given].flat().flatMap((text) => text.split(',').map((one) => one.trim()));
  if (texts.length === 0) throw new OptionsError('must be a URL or a list of URLs: the list is empty');
  if (texts.length > URLS_MAX)
    throw new OptionsError(`must be at most ${URLS_MAX} URLs: it has ${texts.length} (${COMMA})`);
  const urls = texts.map((text, index) => parsed(text, index, texts.length));
  for (const [index, url] of urls.entries()) refuseDifferent(urls, url, index);
  return urls;
}

/**
 * Returns the problem of a broker URL or a list of them, or null if all are valid. For options that name themselves in
 * the error.
 * @example
 *   problemOfBrokerUrls('amqp://mq1/shop,amqp://mq2/other'); // 'number 2 of 2 has another virtual host than number 1: ...'
 */
export function problemOfBrokerUrls(given: string | readonly string[]): string | null {
  try {
    parseBrokerUrls(given);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function parsed(text: string, index: number, count: number): ServerUrl {
  if (count === 1) return parseServerUrl('broker', text);
  try {
    return parseServerUrl('broker', text);
  } catch (error) {
    throw new OptionsError(`number ${index + 1} of ${count} ${(error as Error).message}; ${COMMA}`);
  }
}

function refuseDifferent(urls: readonly ServerUrl[], url: ServerUrl, index: number): void {
  const number = `number ${index + 1} of ${urls.length}`;
  const first = urls.findIndex((other) => nodeOf(other) === nodeOf(url));
  if (first < index) throw new OptionsError(`${number} has the same host and port as number ${first + 1}: remove it`);
  const other = Object.entries(ALIKE).find(([, part]) => part(url) !== part(urls[0]!));
  if (other) throw new OptionsError(`${number} has ${other[0]} than number 1: all URLs must be nodes of one cluster`);
}

const nodeOf = ({ host, port }: ServerUrl) => `${host.toLowerCase()} ${port}`;

/** The default account is guest, and the default virtual host is "/". */
const ALIKE: Record<string, (url: ServerUrl) => string | undefined> = {
  'another protocol': ({ protocol }) => protocol,
  'another user': ({ user, password }) => user ?? (password === undefined ? 'guest' : ''),
  'another password': ({ user, password }) => password ?? (user === undefined ? 'guest' : ''),
  'another virtual host': ({ path }) => path || '/',
  'other options': ({ query }) => JSON.stringify(Object.entries(query).sort()),
};
