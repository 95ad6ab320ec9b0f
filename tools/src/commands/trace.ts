// One timeline of a purchase from all apps, databases and queues.
// Usage: npm run trace -- <orderId> [--of demo|test|chaos]
import { type QueueState, readQueues } from '../audit/queue-states.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import { openDatabases } from '../sandbox/database-reader.js';
import { setsOf } from '../sandbox/known-sandboxes.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import { withSandboxes } from '../sandbox/servers-for-sandboxes.js';
import { readTimeline, type Timeline, timelineLines } from './trace/timeline.js';

const USAGE = 'npm run trace -- <orderId> [--of demo|test|chaos]';

async function main(): Promise<number> {
  const { values, positionals } = readOptions(USAGE, { options: { of: { type: 'string' } } });
  const [orderId, ...rest] = positionals;
  if (!orderId || rest.length > 0) throw new OperatorError(`expected one order id\nusage: ${USAGE}`);
  const searched: string[] = [];
  for (const of of setsOf(values.of)) {
    const isFound = await withSandboxes(of, { say: console.error }, async (sandboxes) => {
      searched.push(...sandboxes.map(({ name }) => name));
      return showFirst(sandboxes, orderId);
    });
    if (isFound) return 0;
  }
  const where =
    searched.length > 0 ? `looked in ${searched.join(', ')}` : 'the demo has not run yet; run "npm run demo" first';
  throw new OperatorError(`no app knows the purchase ${orderId} (${where})`);
}

async function showFirst(sandboxes: readonly Sandbox[], orderId: string): Promise<boolean> {
  for (const sandbox of sandboxes) {
    const databases = await openDatabases(sandbox);
    try {
      const timeline = await readTimeline(databases, orderId);
      if (timeline.now.length === 0) continue;
      await show(sandbox, orderId, timeline);
      return true;
    } finally {
      await databases.close();
    }
  }
  return false;
}

async function show(sandbox: Sandbox, orderId: string, { events, now }: Timeline): Promise<void> {
  console.log(`purchase ${orderId} in sandbox ${sandbox.name}\n`);
  console.log(timelineLines(events).join('\n'));
  console.log(`\nhow it stands:\n${now.map(({ app, text }) => `  ${app.padEnd(9)}  ${text}`).join('\n')}`);
  const lines = await readQueues(sandbox).then(queueLines, (error: unknown) => [
    `  cannot be read: ${messageOf(error)}`,
  ]);
  console.log(`\nqueues:\n${lines.join('\n')}`);
}

function queueLines(queues: readonly QueueState[]): string[] {
  const busy = queues.filter(({ ready, unacked }) => ready + unacked > 0);
  if (busy.length === 0) return [`  all ${queues.length} are empty`];
  return busy.map(({ name, ready, unacked }) => `  ${name}: ${ready} ready, ${unacked} unacked`);
}

await runCommand(main);
