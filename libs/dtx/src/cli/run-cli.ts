import { printable } from '../core/broker/printable.js';
import { OptionsError, textOf } from '../core/errors/errors.js';
import { type Command, type Terminal, UsageError } from './command.js';
import { doctorCommand } from './doctor-command.js';
import { migrateCommand } from './migrate-command.js';
import { queuesCommand } from './queues-command.js';
import { redriveCommand } from './redrive-command.js';
import { sqlCommand } from './sql-command.js';
import { statusCommand } from './status-command.js';

const COMMANDS: Readonly<Record<string, Command>> = {
  migrate: migrateCommand,
  status: statusCommand,
  sql: sqlCommand,
  queues: queuesCommand,
  doctor: doctorCommand,
  redrive: redriveCommand,
};

const FAILED = 1;
const WRONG_ARGUMENTS = 2;
/** As a shell reports a process that Ctrl-C has ended. */
const INTERRUPTED = 130;

/**
 * Runs one command of `nest-dtx`.
 * @param complain prints a line that is not part of the result
 * @returns the exit code: 0, 1 after a failure, 2 for wrong arguments, 130 after Ctrl-C, or that of the command
 */
export async function runCli(
  [name = '', ...args]: readonly string[],
  terminal: Terminal & { readonly complain: (line: string) => void },
): Promise<number> {
  const wantsHelp = (text: string) => ['--help', '-h', 'help'].includes(text);
  if (wantsHelp(name)) {
    for (const line of helpLines()) terminal.say(line);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    terminal.complain(name ? `unknown command ${printable(Buffer.from(name))}` : 'missing command');
    for (const line of helpLines()) terminal.complain(line);
    return WRONG_ARGUMENTS;
  }
  if (args.some((one) => one === '--help' || one === '-h')) {
    terminal.say(`usage: nest-dtx ${command.usage}`);
    return 0;
  }
  try {
    return await command.run(args, terminal);
  } catch (error) {
    if (terminal.signal.aborted) {
      terminal.complain(`${name} stopped; run it again to go on`);
      return INTERRUPTED;
    }
    const isUsage = error instanceof UsageError || error instanceof OptionsError;
    terminal.complain(isUsage ? error.message : `${name} failed: ${textOf(error)}`);
    if (isUsage) terminal.complain(`usage: nest-dtx ${command.usage}`);
    return isUsage ? WRONG_ARGUMENTS : FAILED;
  }
}

function helpLines(): string[] {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return ['usage: nest-dtx <command> [options], nest-dtx <command> --help', ...lines];
}
