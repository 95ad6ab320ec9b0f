/** From a module to a running app: the same for all three. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamicModule, Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import { connectDtx, OptionsError, Readiness } from 'nest-dtx';
import { createAdapter } from './adapter.js';
import { Calls } from './calls.js';
import { AnswerDeadline } from './deadline.interceptor.js';
import { type Env, EnvError, readEnv } from './env.js';
import { TracedLogger } from './logger.js';
import { documentOf } from './openapi.js';
import { ProblemFilter } from './problem.filter.js';
import { RouteTable } from './route-table.js';

/** How long a stop waits for requests and handlers under way. Past it they are cut off: recovery finishes them. */
const STOP_TIMEOUT_MS = 15_000;
/** How long of it new calls are still taken, while others are under way: whoever spreads the load learns that it stops. */
const STILL_LISTENING_MS = 4_000;
/** How long of it the calls that were taken have for their answers, before the loops and consumers stop. */
const LAST_ANSWERS_MS = 4_000;

/** What to serve. */
export interface AppToServe {
  /** Its name in messages to the operator. */
  app: string;
  /** Port when `PORT` is not set. */
  port: number;
  title: string;
  description: string;
  module(env: Env): DynamicModule;
}

/**
 * Runs an app until SIGTERM or SIGINT. When it can be asked, it prints `listening on http://...` with the real port,
 * on a line of its own. Neither a dead database nor a dead broker stops it: see `GET /health/ready`.
 */
export async function serve(what: AppToServe): Promise<void> {
  try {
    const env = readEnv(process.env, { port: what.port });
    const calls = new Calls();
    const app = await createApp(what, env, calls);
    stopOnSignal(app, calls);
    await app.startAllMicroservices();
    await listen(app, env);
    process.stdout.write(`listening on ${addressOf(app)}\n`);
    if (env.adminTokenIsNew) {
      new Logger('Env').warn(`DTX_ADMIN_TOKEN is not set; the token for /dtx of this run is ${env.adminToken}`);
    }
  } catch (error) {
    process.stderr.write(`${what.app}: ${startError(error)}\n`);
    process.exit(1);
  }
}

async function createApp(what: AppToServe, env: Env, calls: Calls): Promise<NestFastifyApplication> {
  const routes = new RouteTable();
  const app = await NestFactory.create<NestFastifyApplication>(what.module(env), createAdapter(routes, calls), {
    logger: new TracedLogger(),
    bodyParser: false,
    abortOnError: false,
  });
  app.useGlobalFilters(new ProblemFilter(routes));
  app.useGlobalInterceptors(new AnswerDeadline());
  SwaggerModule.setup('docs', app, () => documentOf(app, what));
  await connectDtx(app);
  return app;
}

/** Not through the framework's `listen`, which would add an error line of its own to the one below. */
async function listen(app: NestFastifyApplication, { port, host }: Env): Promise<void> {
  await app.init();
  await app.getHttpAdapter().getInstance().listen({ port, host });
}

/**
 * Stops in order. Readiness is 503 from the signal on. The listener closes when the last call has its answer: until then
 * loops and consumers run, so each answer is what it would have been before. Then the work that is under way ends, and the
 * connections close. A second signal ends at once.
 */
function stopOnSignal(app: NestFastifyApplication, calls: Calls): void {
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    const logger = new Logger('Stop');
    logger.log(`${signal}: stopping`);
    setTimeout(() => {
      logger.warn(`not stopped after ${STOP_TIMEOUT_MS} ms: ending now, recovery finishes what was begun`);
      process.exit(1);
    }, STOP_TIMEOUT_MS).unref();
    close(app, calls).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error(`stopped with an error: ${String(error)}`, error instanceof Error ? error.stack : undefined);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
}

async function close(app: NestFastifyApplication, calls: Calls): Promise<void> {
  app.get(Readiness, { strict: false }).stop();
  await calls.end(STILL_LISTENING_MS);
  const closed = app.getHttpAdapter().getInstance().close();
  // A call without an answer by now needs what is closed next. It is waited for there.
  await Promise.race([closed, sleep(LAST_ANSWERS_MS)]);
  await app.close();
}

function addressOf(app: NestFastifyApplication): string {
  const { address, family, port } = app.getHttpServer().address() as { address: string; family: string; port: number };
  if (address === '0.0.0.0' || address === '::') return `http://127.0.0.1:${port}`;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** One line for what an operator can put right; the whole error for what only a programmer can. */
function startError(error: unknown): string {
  if (error instanceof EnvError) return error.message;
  // `section.option: ...` is from DTX_OPTIONS; the others name themselves what is wrong.
  if (error instanceof OptionsError)
    return /^[a-zA-Z]+(\.\w+)*: /.test(error.message) ? `DTX_OPTIONS is wrong: ${error.message}` : error.message;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === 'listen' || syscall === 'getaddrinfo') return `PORT or HOST cannot be used (${code}): choose another`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
