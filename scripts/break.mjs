// Breaks the running demo at a failpoint and shows how it heals.
// Usage: npm run break -- <failpoint> [--mode crash|pause]     exit code: 0 healed and every invariant holds
import { join } from 'node:path';
import { openDatabases } from './audit/databases.mjs';
import { audit } from './audit/index.mjs';
import { exitCodeOf, reportLines } from './audit/report.mjs';
import { AppEvents } from './break/app-events.mjs';
import { findFailpoint, knownFailpoints } from './break/registry.mjs';
import { runBreak } from './break/run.mjs';
import { Watch } from './break/watch.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { callControl } from './demo/control.mjs';
import { demoDir, runningDemo } from './demo/session.mjs';
import { withLock } from './infra/lock.mjs';
import { ROOT } from './infra/place.mjs';

const USAGE = 'npm run break -- <failpoint> [--mode crash|pause]';
const MODES = ['crash', 'pause'];
const STARTING = 'the demo is still starting, or making its own purchases: wait until it says that it is serving';
const say = (line) => console.log(line);

async function main() {
  const { values, positionals } = readOptions(USAGE, { options: { mode: { type: 'string', default: 'crash' } } });
  if (positionals.length !== 1)
    throw new OperatorError(`one failpoint, please ("npm run failpoints" lists them)\nusage: ${USAGE}`);
  if (!MODES.includes(values.mode))
    throw new OperatorError(`there is no mode "${values.mode}": it is ${MODES.join(' or ')}`);
  const session = runningDemo();
  // A running demo was built; building now would change the code under its feet.
  const point = findFailpoint(await knownFailpoints({ say, builds: !session }), positionals[0]);
  if (!session) throw new OperatorError('no demo is running: start one with "npm run demo" in another terminal');
  if (!session.control) throw new OperatorError(STARTING);
  const lock = join(ROOT, '.infra', 'demo-break.lock');
  return withLock(lock, { say, what: 'the demo', boundMs: 600_000 }, () => breakDemo(session, point, values.mode));
}

async function breakDemo(session, point, mode) {
  const events = new AppEvents();
  const control = await callControl(session.control, (event) => events.add(event));
  const status = await control.ask('status');
  if (!status.isServing) throw new OperatorError(STARTING);
  const databases = await openDatabases(status.world);
  try {
    say(`${point.name}: ${point.scheme}, step ${point.step}, in the ${point.app} app; mode ${mode}\n`);
    const watch = new Watch({ databases, say });
    const failpointLog = join(demoDir(), 'failpoints.log');
    const isHealed = await runBreak({ point, mode, control, status, events, watch, failpointLog, say });
    if (!isHealed) say('NOT HEALED in time: "npm run trace -- <orderId>" shows where it stands');
    say('\nchecking the invariants (waits until the system is quiet) ...');
    const result = await audit(status.world);
    say(reportLines(result).join('\n'));
    return isHealed ? exitCodeOf([result]) : 1;
  } finally {
    await databases.close();
    control.close();
  }
}

await runCommand(main);
