// How every command starts and ends: options in, one line for a failure that the operator can act on, an exit code.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { Interrupted, OperatorError } from './operator-error.js';

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; allowPositionals: boolean; strict: true; options: T }>
>;

/** Parses the command line. A wrong option ends the command with its usage. */
export function readOptions<T extends Options>(
  usage: string,
  { options, allowPositionals = true }: { options: T; allowPositionals?: boolean },
): Parsed<T> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    console.log(`usage: ${usage}`);
    process.exit(0);
  }
  try {
    return parseArgs({ args, allowPositionals, strict: true, options });
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0]!.replace(/ To specify a positional.*$/, '');
    throw new OperatorError(`${reason}\nusage: ${usage}`);
  }
}

/**
 * Runs a command and ends the process with the exit code that it returns. Ends it by `process.exit`, because a library
 * that keeps a socket open must not keep a finished command alive.
 */
export async function runCommand(main: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.exitCode = error instanceof Interrupted ? 130 : 1;
    console.error(error instanceof OperatorError ? error.message : error);
  }
  await flushed(process.stdout);
  await flushed(process.stderr);
  process.exit();
}

/** A pipe may still hold the last lines, which an exit would cut off. */
const flushed = (stream: NodeJS.WriteStream) => new Promise<void>((resolve) => stream.write('', () => resolve()));
