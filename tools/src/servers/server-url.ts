// The parts of a server's URL, read by the library's rules.
import { parseServerUrl, type ServerKind, type ServerUrl } from 'nest-dtx';

const KINDS: Record<string, ServerKind> = {
  mysql: 'database',
  mariadb: 'database',
  amqp: 'broker',
  amqps: 'broker',
  redis: 'redis',
  rediss: 'redis',
};

/**
 * Unlike an app's URL, that of a database server need not name a database: its path may be empty.
 * @throws OptionsError with a reason that shows nothing of the value
 */
export function serverUrlParts(text: string): ServerUrl {
  const kind = KINDS[/^[a-z]+(?=:)/i.exec(text)?.[0].toLowerCase() ?? ''] ?? 'database';
  if (kind !== 'database' || !hasNoPath(text)) return parseServerUrl(kind, text);
  const withPath = Object.assign(new URL(text), { pathname: '/any' }).href;
  return { ...parseServerUrl(kind, withPath), path: '' };
}

const hasNoPath = (text: string) => URL.canParse(text) && new URL(text).pathname.replace('/', '') === '';
