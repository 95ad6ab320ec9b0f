/** Starts and stops an app: environment, HTTP server, message consumers, signals. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type DynamicModule, Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import { DtxDatabase, DtxLogger, OptionsError, Readiness } from 'nest-dtx';
import { RouteTable } from './allowed-methods.js';
import { answerInTime } from './answer-deadline.js';
import { type Env, EnvError, readEnv } from './env.js';
import { createAdapter } from './fastify-adapter.js';
import { Calls } from './in-flight-requests.js';
import { documentOf } from './openapi-document.js';
import { ProblemFilter } from './problem.filter.js';

/** Time limit of a stop. After it the process exits, and recovery finishes its transactions after the next start. */
const STOP_TIMEOUT_MS = 15_000;
/**
 * Part of the stop in which new calls are still accepted while others run or may be on their way, so that load balancers
 * can react to the 503 and callers let their idle connections go.
 */
const STILL_LISTENING_MS = 5_000;
/** Part of the stop in which accepted calls are answered, before loops and consumers stop. */
const LAST_ANSWERS_MS = 4_000;
/** How long the start waits for the database. Then the app listens without it and answers 503. */
const DATABASE_WAIT_MS = 3_000;

/** Description of an app. */
export interface AppToServe {
  /** Name in messages to the operator. */
  app: string;
  /** Default of `PORT`. */
  port: number;
  title: string;
  description: string;
  module(env: Env): DynamicModule;
}

/**
 * Runs an app until SIGTERM or SIGINT. As soon as it accepts calls, it prints the line `listening on http://...` with the
 * real port. An unavailable database or broker does not prevent the start, see `GET /health/ready`.
 */
export async function serve(definition: AppToServe): Promise<void> {
  try {
    const env = readEnv(process.env, { port: definition.port });
    const calls = new Calls();
    const app = await createApp(definition, env, calls);
    stopOnSignal(app, calls);
    await listen(app, env);
    process.stdout.write(`listening on ${addressOf(app)}\n`);
    if (env.adminTokenIsNew) {
      new Logger('Env').warn(`DTX_ADMIN_TOKEN is not set; the token for /dtx of this run is ${env.adminToken}`);
    }
  } catch (error) {
    process.stderr.write(`${definition.app}: ${startError(error)}\n`);
    process.exit(1);
  }
}

async function createApp(definition: AppToServe, env: Env, calls: Calls): Promise<NestFastifyApplication> {
  const routes = new RouteTable();
  const adapter = createAdapter(routes, calls, env);
  const filter = new ProblemFilter(routes);
  answerInTime(adapter, (...of) => filter.answer(...of));
  const app = await NestFactory.create<NestFastifyApplication>(definition.module(env), adapter, {
    logger: new DtxLogger(),
    bodyParser: false,
    abortOnError: false,
  });
  app.useGlobalFilters(filter);
  SwaggerModule.setup('docs', app, () => documentOf(app, definition));
  return app;
}

/**
 * Listens without the framework's `listen`, which would log a second error line. The first call usually finds an open
 * database, even if a balancer does not ask for readiness.
 */
async function listen(app: NestFastifyApplication, { port, host }: Env): Promise<void> {
  await app.init();
  const open = new Promise<void>((resolve) => app.get(DtxDatabase, { strict: false }).onReady(resolve));
  await Promise.race([open, sleep(DATABASE_WAIT_MS)]);
  await app.getHttpAdapter().getInstance().listen({ port, host });
}

/**
 * Stops in order. Readiness is 503 from the signal on. The listener closes after the last answer. Until then loops and
 * consumers run, so calls are answered as usual. Then running work ends and the connections close. A second signal exits
 * at once.
 */
function stopOnSignal(app: NestFastifyApplication, calls: Calls): void {
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    const logger = new Logger('Stop');
    logger.log(`${signal}: stopping`);
    setTimeout(() => {
      logger.warn(`not stopped after ${STOP_TIMEOUT_MS} ms, exiting; recovery finishes open transactions`);
      process.exit(1);
    }, STOP_TIMEOUT_MS).unref();
    close(app, calls).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error(`stop failed: ${String(error)}`, error instanceof Error ? error.stack : undefined);
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
  // An unanswered call needs the loops or consumers that `app.close` stops, and that waits for their work.
  await Promise.race([closed, sleep(LAST_ANSWERS_MS)]);
  await app.close();
}

function addressOf(app: NestFastifyApplication): string {
  const { address, family, port } = app.getHttpServer().address() as { address: string; family: string; port: number };
  if (address === '0.0.0.0' || address === '::') return `http://127.0.0.1:${port}`;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** One line for an error that an operator can correct, and the whole stack for any other error. */
function startError(error: unknown): string {
  if (error instanceof EnvError) return error.message;
  // A text `section.option: ...` comes from DTX_OPTIONS. Other texts already name their source.
  if (error instanceof OptionsError)
    return /^[a-zA-Z]+(\.\w+)*: /.test(error.message) ? `DTX_OPTIONS is wrong: ${error.message}` : error.message;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === 'listen' || syscall === 'getaddrinfo')
    return `cannot listen on PORT or HOST: ${code}; choose another`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
