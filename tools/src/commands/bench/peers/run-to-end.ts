// One program that is waited for. It and all that it starts end with the command.
import { spawn } from 'node:child_process';
import { Interrupted } from '../../../cli/operator-error.js';
import { signal as send } from '../../../process/detached-processes.js';

interface Options {
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly boundMs: number;
}

const SHOWN_LINES = 20;
const KEPT_CHARACTERS = 20_000;
/** npm cleans up after SIGTERM. */
const POLITE_MS = 3_000;

/** Returns null, or the last lines and the end of a program that failed. @throws Interrupted */
export async function runToEnd(command: string, args: readonly string[], options: Options): Promise<string | null> {
  const { cwd, signal, boundMs } = options;
  const said = `\`${[command, ...args].join(' ')}\``;
  if (signal.aborted) throw new Interrupted(`${said} was not started`);
  // In a process group of its own, so that what it started is ended with it.
  const child = spawn(command, args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk).slice(-KEPT_CHARACTERS);
    });
  const ended = new Promise<string | null>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, by) => resolve(code === 0 ? null : (by ?? `exit code ${code}`)));
  });
  const end = () => void endGroup(child.pid, ended);
  const timer = setTimeout(end, boundMs);
  signal.addEventListener('abort', end, { once: true });
  const how = await ended;
  clearTimeout(timer);
  signal.removeEventListener('abort', end);
  if (signal.aborted) throw new Interrupted(`${said} was stopped: the next run starts it again`);
  if (how === null) return null;
  const last = output.trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  return `${last}\n${said} in ${cwd} ended with ${how}`;
}

async function endGroup(pid: number | undefined, ended: Promise<unknown>): Promise<void> {
  if (pid === undefined) return;
  send(-pid, 'SIGTERM');
  const timer = setTimeout(() => send(-pid, 'SIGKILL'), POLITE_MS);
  await ended;
  clearTimeout(timer);
}
