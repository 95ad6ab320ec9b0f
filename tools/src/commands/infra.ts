// Starts, stops and shows the servers of a set.
// Usage: npm run infra -- up|down|status [--of NAME] [--only databases,rabbitmq,redis] [--wipe]

import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { OperatorError } from '../cli/operator-error.js';
import { secondsSince } from '../cli/waits-and-progress.js';
import { down, status, up, withoutPassword } from '../servers/index.js';
import { KINDS, type Kind } from '../servers/server-set.js';

const USAGE = 'npm run infra -- up|down|status [--of demo|test|NAME] [--only databases,rabbitmq,redis] [--wipe]';

interface Wanted {
  readonly command: keyof typeof ACTIONS;
  readonly name: string;
  readonly only: readonly Kind[];
  readonly wipe: boolean;
}

const ACTIONS = { up: runUp, down: runDown, status: runStatus };
const isCommand = (text: string | undefined): text is keyof typeof ACTIONS =>
  text !== undefined && Object.hasOwn(ACTIONS, text);

function readArguments(): Wanted {
  const { values, positionals } = readOptions(USAGE, {
    options: { of: { type: 'string', default: 'demo' }, only: { type: 'string' }, wipe: { type: 'boolean' } },
  });
  const [command, ...rest] = positionals;
  if (!isCommand(command) || rest.length > 0)
    throw wrong(`expected up, down or status, and got "${positionals.join(' ')}"`);
  if (values.only !== undefined && command !== 'up')
    throw wrong(`--only is for up: ${command} is for all servers of a set`);
  if (values.wipe && command !== 'down') throw wrong(`--wipe is for down: ${command} keeps all data`);
  const asked = values.only?.split(',') ?? KINDS;
  const unknown = asked.filter((kind) => !KINDS.some((one) => one === kind));
  if (unknown.length > 0) throw wrong(`--only is "${values.only}": it takes ${KINDS.join(', ')}, separated by commas`);
  return { command, name: values.of, only: KINDS.filter((kind) => asked.includes(kind)), wipe: values.wipe ?? false };
}

const wrong = (problem: string) => new OperatorError(`${problem}\nusage: ${USAGE}`);

async function runUp({ name, only }: Wanted): Promise<number> {
  const since = Date.now();
  const { databases, rabbitmq, management, redis } = await up(name, { only });
  for (const [server, url] of Object.entries({ ...databases, rabbitmq, management, redis })) {
    if (url) console.log(`  ${server.padEnd(10)} ${withoutPassword(url)}`);
  }
  console.log(
    `servers of ${name} are up after ${secondsSince(since)} s; with passwords in .infra/${name}/servers.json`,
  );
  return 0;
}

async function runDown({ name, wipe }: Wanted): Promise<number> {
  await down(name, { wipe });
  console.log(`servers of ${name} are down${wipe ? ', their data is gone' : ', their data is kept'}`);
  return 0;
}

async function runStatus({ name }: Wanted): Promise<number> {
  const rows = await status(name);
  for (const { server, way, up: isUp, detail, url } of rows) {
    const shown = `${server.padEnd(10)} ${way.padEnd(8)} ${(isUp ? 'up' : 'down').padEnd(5)} ${url}`;
    console.log(`${shown} ${isUp ? '' : `(${detail})`}`.trimEnd());
  }
  return rows.every((row) => row.up) ? 0 : 1;
}

await runCommand(async () => {
  const wanted = readArguments();
  return ACTIONS[wanted.command](wanted);
});
