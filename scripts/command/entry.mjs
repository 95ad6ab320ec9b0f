// How every command starts and ends: options in, one line out for an operator's mistake, an exit code.
import { parseArgs } from 'node:util';
import { InfraError as OperatorError } from '../infra/place.mjs';

/** A mistake or a lack that the operator can do something about: shown as one line, without a stack. */
export { OperatorError };

/** Parses the command line; a wrong option ends the command with its usage. */
export function readOptions(usage, config, argv = process.argv.slice(2)) {
  let parsed;
  try {
    parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      strict: true,
      ...config,
      options: { help: { type: 'boolean', short: 'h' }, ...config.options },
    });
  } catch (error) {
    throw new OperatorError(
      `${error.message.split('\n')[0].replace(/ To specify a positional.*$/, '')}\nusage: ${usage}`,
    );
  }
  if (parsed.values.help) {
    console.log(`usage: ${usage}`);
    process.exit(0);
  }
  return parsed;
}

/**
 * Runs a command and ends the process with the exit code that it returns. Ends it by `process.exit`, because a library
 * that keeps a socket open must not keep a finished command alive.
 */
export async function runCommand(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.exitCode = 1;
    console.error(error instanceof OperatorError ? error.message : error);
  }
  await flushed(process.stdout);
  await flushed(process.stderr);
  process.exit();
}

/** A pipe may still hold what was printed last; exiting before it is taken would cut it off. */
const flushed = (stream) => new Promise((resolve) => stream.write('', () => resolve()));
