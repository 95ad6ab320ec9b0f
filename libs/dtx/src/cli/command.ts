// The shape of a command of `nest-dtx`: its description, its surroundings, and the end after wrong arguments.
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** Wrong arguments. The command ends with this line, its usage and exit code 2. */
export class UsageError extends Error {}

/** The surroundings of a command. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Prints a line of the result. */
  readonly say: (line: string) => void;
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface Command {
  /** The arguments, as the usage line shows them. */
  readonly usage: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** @returns the exit code */
  readonly run: (args: readonly string[], terminal: Terminal) => Promise<number>;
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; strict: true; allowPositionals: true; options: T }>
>['values'];

/**
 * Parses the arguments of a command. An argument may be a URL with a password, so no error shows a value.
 * @throws UsageError
 */
export function readArguments<const T extends Options>(args: readonly string[], options: T): Values<T> {
  try {
    const { values, positionals } = parseArgs({ args: [...args], strict: true, allowPositionals: true, options });
    if (positionals.length > 0) throw new UsageError(`${positionals.length} argument(s) without an option name`);
    return values;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(reasonOf(error as Error));
  }
}

/** The first sentence of Node, with the name of the option and without a value. */
function reasonOf({ message }: Error): string {
  const [, option] = /'(-{1,2}[\w-]+)/.exec(message) ?? [];
  if (/^Unknown option/.test(message)) return `unknown option ${option}`;
  return /does not take/.test(message) ? `option ${option} takes no value` : `option ${option} needs a value`;
}

/**
 * A server URL from an option or an environment variable. The variable keeps a password out of the list of processes.
 * @throws UsageError if both are missing
 */
export function urlFrom(option: string | undefined, { env }: Terminal, name: { option: string; variable: string }) {
  const url = option ?? env[name.variable];
  if (!url) throw new UsageError(`missing --${name.option} (or the environment variable ${name.variable})`);
  return url;
}

export const DATABASE = { option: 'url', variable: 'DTX_DATABASE_URL' };
export const BROKER = { option: 'rabbitmq', variable: 'DTX_RABBITMQ_URL' };
export const REDIS = { option: 'redis', variable: 'DTX_REDIS_URL' };

/** Names the server in the error of a URL that cannot be read. No such error shows the URL. @throws UsageError */
export function readableUrl<T>(server: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError(`the ${server} URL ${(error as Error).message}`);
  }
}

/** A list of names, separated by commas. */
export const listOf = (text: string) =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
