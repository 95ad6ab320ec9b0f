#!/usr/bin/env node
// npm run infra -- up|down|status [--of NAME] [--only databases,rabbitmq,redis] [--wipe]
import { parseArgs } from 'node:util';
import { down, InfraError, status, up, withoutPassword } from './infra/index.mjs';
import { KINDS } from './infra/place.mjs';

const USAGE = 'usage: npm run infra -- up|down|status [--of demo|test|NAME] [--only databases,rabbitmq,redis] [--wipe]';

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        of: { type: 'string', default: 'demo' },
        only: { type: 'string' },
        wipe: { type: 'boolean', default: false },
      },
    });
    const only = values.only?.split(',') ?? KINDS;
    const known = ['up', 'down', 'status'].includes(positionals[0]) && positionals.length === 1;
    if (!known || !only.every((kind) => KINDS.includes(kind))) throw new InfraError(USAGE);
    return { command: positionals[0], name: values.of, only, wipe: values.wipe };
  } catch (error) {
    throw error instanceof InfraError ? error : new InfraError(`${error.message}\n${USAGE}`);
  }
}

async function runUp({ name, only }) {
  const since = Date.now();
  const servers = await up(name, { only });
  for (const server of Object.keys(servers.databases ?? {}))
    console.log(`  ${server.padEnd(10)} ${withoutPassword(servers.databases[server])}`);
  for (const server of ['rabbitmq', 'management', 'redis']) {
    if (servers[server]) console.log(`  ${server.padEnd(10)} ${withoutPassword(servers[server])}`);
  }
  console.log(
    `servers of ${name} are up after ${((Date.now() - since) / 1000).toFixed(1)} s; with passwords in .infra/${name}/servers.json`,
  );
}

async function runDown({ name, wipe }) {
  await down(name, { wipe });
  console.log(`servers of ${name} are down${wipe ? ', their data is gone' : ', their data is kept'}`);
}

async function runStatus({ name }) {
  const rows = await status(name);
  for (const { server, way, up: isUp, detail, url } of rows) {
    console.log(
      `${server.padEnd(10)} ${way.padEnd(8)} ${(isUp ? 'up' : 'down').padEnd(5)} ${url} ${isUp ? '' : `(${detail})`}`.trimEnd(),
    );
  }
  if (rows.some((row) => !row.up)) process.exitCode = 1;
}

try {
  const wanted = readArguments();
  await { up: runUp, down: runDown, status: runStatus }[wanted.command](wanted);
} catch (error) {
  if (!(error instanceof InfraError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
