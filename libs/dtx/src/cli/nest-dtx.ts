#!/usr/bin/env node
import { Logger } from '@nestjs/common';
import { runCli } from './run-cli.js';

/** The program `nest-dtx`. It ends by `process.exit`, because a driver may keep a socket open. */
async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(name));
  // A closed pipe ends the output. The command goes on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  // The lines of the commands are the whole output.
  Logger.overrideLogger(false);
  const code = await runCli(process.argv.slice(2), {
    env: process.env,
    signal: stop.signal,
    say: (line) => process.stdout.write(`${line}\n`),
    complain: (line) => process.stderr.write(`${line}\n`),
  });
  await Promise.all([process.stdout, process.stderr].map(flushed));
  process.exit(code);
}

const flushed = (stream: NodeJS.WriteStream) => new Promise<void>((resolve) => stream.write('', () => resolve()));

void main();
