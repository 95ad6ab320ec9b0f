// An app of one process whose saga waits for a signal, as built. It starts the saga and approves or refuses it, unless its task is
// to recover. It ends when the saga has ended. The environment arms a failpoint.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const [root, url, rabbitmqUrl, gid, task] = process.argv.slice(2);
const load = createRequire(`${root}/libs/dtx/package.json`);
const { NestFactory } = load('@nestjs/core');
const { DataSource } = load('typeorm');
const { z } = load('zod');
const { DtxModule, inTransaction, Database } = load('./dist/index.js');
const { Do, Undo, SagaStep, SagaModule, Sagas, defineSaga, defineSignal, defineStep } = load('./dist/saga/index.js');

const none = z.object({});
const approval = defineSignal({ name: 'approval', payload: z.object({ isGiven: z.boolean() }) });
const [request, ship] = ['order.request', 'order.ship'].map((name) => defineStep({ name, version: 1, args: none }));
const loan = defineSaga({
  name: 'order.loan',
  version: 1,
  input: none,
  deadlineMs: 60_000,
  steps: ({ compensable, pivot, waitFor }) => [
    compensable(request, () => ({})),
    waitFor(approval, { withinMs: 3_600_000, refusal: ({ isGiven }) => (isGiven ? null : 'NOT_APPROVED') }),
    pivot(ship, () => ({})),
  ],
});

/** A class whose Do writes an effect. */
function stepClass(contract, hasUndo) {
  class Made {
    do(tx, _, { gid }) {
      return tx.query('INSERT INTO effect (gid, what) VALUES (?, ?)', [gid, contract.name]).then(() => undefined);
    }
    undo() {}
  }
  const descriptorOf = (name) => Object.getOwnPropertyDescriptor(Made.prototype, name);
  Do(contract)(Made.prototype, 'do', descriptorOf('do'));
  if (hasUndo) Undo(contract)(Made.prototype, 'undo', descriptorOf('undo'));
  SagaStep(contract)(Made);
  return Made;
}

async function until(look) {
  while (!(await look().catch(() => false))) await sleep(20);
}

class Data {}
class App {}
const source = new DataSource({ type: 'mysql', url, timezone: 'Z' });
const providers = [{ provide: DataSource, useValue: source }];
const app = await NestFactory.createApplicationContext(
  {
    module: App,
    providers: [stepClass(request, true), stepClass(ship, false)],
    imports: [
      { module: Data, global: true, providers, exports: [DataSource] },
      DtxModule.forRoot({ app: 'order', rabbitmqUrl, scanIntervalMs: 50, leaseMs: 500 }),
      SagaModule.forRoot({ sagas: [loan], callTimeoutMs: 1_000 }),
    ],
  },
  { logger: ['error'] },
);
const sagas = app.get(Sagas);
await until(async () => app.get(Database).ready);
if (task !== 'recover') {
  const payload = { isGiven: task === 'approve' };
  await inTransaction(source, (tx) => sagas.start(tx, loan, {}, { gid }));
  await until(async () => (await sagas.outcome(gid)).isWaiting);
  // A sender that does not know the outcome repeats the signal.
  await until(() => inTransaction(source, (tx) => sagas.signal(tx, gid, approval, payload, { id: 'one' })));
}
await until(async () => (await sagas.outcome(gid, 1_000)).status !== 'PENDING');
await app.close();
await source.destroy();
