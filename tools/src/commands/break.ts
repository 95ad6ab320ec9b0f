// Breaks the running demo at a failpoint and shows its recovery.
// Usage: npm run break -- <failpoint> [--mode crash|pause|error]     exit code: 0 healed and every invariant holds
import { join } from 'node:path';
import { audit } from '../audit/index.js';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { withLock } from '../process/command-lock.js';
import { openDatabases } from '../sandbox/database-reader.js';
import { AppEventQueue } from './break/app-event-queue.js';
import { type InterruptibleControl, interruptible } from './break/interruptible-control.js';
import { type Failpoint, findFailpoint } from './break/known-failpoints.js';
import { Watch } from './break/recovery-watch.js';
import { MODES, type Mode, runBreak } from './break/run.js';
import { callControl } from './demo/control-socket.js';
import { breakLock, demoDir, runningDemo } from './demo/running-demo-file.js';

const USAGE = 'npm run break -- <failpoint> [--mode crash|pause|error]';
const STARTING = 'the demo is still starting, or making its own purchases: wait until it says that it is serving';
const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values, positionals } = readOptions(USAGE, { options: { mode: { type: 'string', default: 'crash' } } });
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0)
    throw new OperatorError(`expected one failpoint ("npm run failpoints" lists them)\nusage: ${USAGE}`);
  const mode = MODES.find((one) => one === values.mode);
  if (!mode) throw new OperatorError(`unknown mode "${values.mode}": use ${MODES.join(', ')}`);
  const session = runningDemo();
  const point = findFailpoint(name);
  if (!session) throw new OperatorError('no demo is running: start one with "npm run demo" in another terminal');
  const { control } = session;
  if (!control) throw new OperatorError(STARTING);
  return withLock(breakLock(), { say, what: 'the demo', boundMs: 600_000 }, () => breakDemo(control, point, mode));
}

async function breakDemo(address: string, point: Failpoint, mode: Mode): Promise<number> {
  const events = new AppEventQueue();
  const { signal, happened } = firstSignal({ say });
  const control = interruptible(await callControl(address, (event) => events.add(event)), signal);
  const status = await control.ask('status');
  if (!status.isServing) throw new OperatorError(STARTING);
  const databases = await openDatabases(status.sandbox);
  try {
    say(`${point.name}: ${point.scheme}, step ${point.step}, in the ${point.app} app; mode ${mode}\n`);
    const watch = new Watch(databases, say);
    const failpointLog = join(demoDir(), 'failpoints.log');
    const broken = runBreak({ point, mode, control, status, events, watch, failpointLog, say });
    broken.catch(() => {}); // after a signal it fails with its next request
    const isHealed = await Promise.race([broken, happened.then(() => null)]);
    if (isHealed === null) return await giveUp(control, point);
    if (!isHealed) say('NOT HEALED in time: "npm run trace -- <orderId>" shows where it stands');
    say('\nchecking the invariants (waits until the system is quiet) ...');
    const result = await Promise.race([audit(status.sandbox), happened.then(() => null)]);
    if (result === null) return 130;
    say(reportLines(result).join('\n'));
    return isHealed ? exitCodeOf([result]) : 1;
  } finally {
    await databases.close();
    control.close();
  }
}

async function giveUp(control: InterruptibleControl, { app, name }: Failpoint): Promise<number> {
  await control.setRight(app);
  say(`the ${app} app runs without ${name} again, and its recovery finishes the open work`);
  return 130;
}

await runCommand(main);
