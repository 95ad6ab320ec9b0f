// One timeline of a purchase from all apps, databases and queues.
// Usage: npm run trace -- <orderId> [--of demo|test]
import { openDatabases } from './audit/databases.mjs';
import { readQueues } from './audit/queues.mjs';
import { SETS, withWorlds } from './audit/worlds.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { prepare } from './prepare.mjs';
import { readTimeline, timelineLines } from './trace/timeline.mjs';

const USAGE = 'npm run trace -- <orderId> [--of demo|test]';

async function main() {
  const { values, positionals } = readOptions(USAGE, { options: { of: { type: 'string' } } });
  const [orderId, ...rest] = positionals;
  if (!orderId || rest.length > 0) throw new OperatorError(`one order id, please\nusage: ${USAGE}`);
  await prepare({ builds: false });
  const searched = [];
  for (const of of values.of ? [values.of] : SETS) {
    const isFound = await withWorlds(of, { say: console.error }, async (worlds) => {
      searched.push(...worlds.map((world) => world.name));
      return showFirst(worlds, orderId);
    });
    if (isFound) return 0;
  }
  const where =
    searched.length > 0 ? `looked in ${searched.join(', ')}` : 'there is no world yet: "npm run demo" makes one';
  throw new OperatorError(`no app knows the purchase ${orderId} (${where})`);
}

async function showFirst(worlds, orderId) {
  for (const world of worlds) {
    const databases = await openDatabases(world);
    try {
      const timeline = await readTimeline(databases, orderId);
      if (timeline.now.length === 0) continue;
      await show(world, orderId, timeline);
      return true;
    } finally {
      await databases.close();
    }
  }
  return false;
}

async function show(world, orderId, { events, now }) {
  console.log(`purchase ${orderId} in world ${world.name}\n`);
  console.log(timelineLines(events).join('\n'));
  console.log(`\nhow it stands:\n${now.map(({ app, text }) => `  ${app.padEnd(9)}  ${text}`).join('\n')}`);
  const queues = await readQueues(world).catch((error) => ({ failure: error.message || error.code }));
  console.log(`\nqueues:\n${queueLines(queues).join('\n')}`);
}

function queueLines(queues) {
  if (queues.failure) return [`  cannot be read: ${queues.failure}`];
  const busy = queues.filter(({ ready, unacked }) => ready + unacked > 0);
  if (busy.length === 0) return [`  all ${queues.length} are empty`];
  return busy.map(({ name, ready, unacked }) => `  ${name}: ${ready} ready, ${unacked} unacked`);
}

await runCommand(main);
