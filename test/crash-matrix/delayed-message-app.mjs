// An app of one process with a delayed message, as built. Its handler and its cancel compete for one effect. The step before
// the ack has an effect only without the handler. Task `append`
// sends the message, `cancel` withdraws it before it is due, and `late` while it is in the queue. `far` leaves it for an hour
// beside another one, and `seldom` scans once in a minute. `recover` ends the work of a process that has died. The
// environment arms a failpoint.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const [root, url, rabbitmqUrl, gid, task] = process.argv.slice(2);
const load = createRequire(`${root}/libs/dtx/package.json`);
const { NestFactory } = load('@nestjs/core');
const { DataSource } = load('typeorm');
const { z } = load('zod');
const { BeforeAck, Broker, Database, DtxModule, OnMessage, defineMessage, inTransaction } = load('./dist/index.js');
const { LocalMessageModule, LocalMessages } = load('./dist/local-message/index.js');

const reminder = defineMessage({
  name: 'test.reminder',
  version: 1,
  schema: z.object({ gid: z.string() }),
  consumers: ['order.remind'],
  gid: (message) => message.gid,
});
const effect = (tx, id, what) => tx.query('INSERT INTO effect (gid, what) VALUES (?, ?)', [id, what]);

class Reminders {
  async remind(tx, message) {
    await effect(tx, message.gid, 'handled');
  }
  async beforeAck({ gid: id }) {
    const [{ number }] = await source.query(
      `SELECT COUNT(*) AS number FROM effect WHERE gid = ? AND what = 'handled'`,
      [id],
    );
    if (Number(number) === 0) await effect(source, id, 'before the ack, without the handler');
  }
}
for (const [decorate, method] of [
  [OnMessage, 'remind'],
  [BeforeAck, 'beforeAck'],
])
  decorate(reminder)(Reminders.prototype, method, Object.getOwnPropertyDescriptor(Reminders.prototype, method));

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
    providers: [Reminders],
    imports: [
      { module: Data, global: true, providers, exports: [DataSource] },
      // The message of a late cancel stays in its queue.
      DtxModule.forRoot({
        app: 'order',
        rabbitmqUrl,
        scanIntervalMs: task === 'seldom' ? 60_000 : 50,
        leaseMs: 500,
        consumers: task !== 'late',
      }),
      LocalMessageModule.forRoot({ resend: { firstMs: 300, factor: 1, capMs: 300 }, markDelayMs: 1 }),
    ],
  },
  { logger: ['error'] },
);
await until(async () => app.get(Database).ready && app.get(Broker).isUp);
const messages = app.get(LocalMessages);
const stateOf = async (of = gid) => (await source.query('SELECT state FROM dtx_outbox WHERE gid = ?', [of]))[0]?.state;
const append = (dueInMs, of = gid) =>
  inTransaction(source, (tx) => messages.append(tx, reminder, { gid: of }, { dueInMs, name: of }));
// A caller that does not know the outcome repeats its transaction.
const cancel = () =>
  until(() =>
    inTransaction(source, async (tx) => {
      const answer = await messages.cancel(tx, reminder, { name: gid });
      const [{ number }] = await tx.query('SELECT COUNT(*) AS number FROM effect WHERE gid = ?', [gid]);
      if (answer === 'CANCELLED' && Number(number) === 0) await effect(tx, gid, 'cancelled');
      return true;
    }),
  );

if (task === 'append' || task === 'seldom') await append(200);
if (task === 'far') await append(3_600_000);
if (task === 'far') await append(200, `${gid}-near`);
if (task === 'far') await until(async () => (await stateOf(`${gid}-near`)) === 'DONE');
if (task === 'cancel') await append(3_600_000);
if (task === 'late') await append(0);
if (task === 'late') await until(async () => (await stateOf()) === 'SENT');
if (task === 'cancel' || task === 'late') await cancel();
if (task === 'recover' && (await stateOf()) === 'SCHEDULED') await cancel();
if (task !== 'late' && task !== 'far') await until(async () => ['DONE', 'CANCELLED'].includes(await stateOf()));
await app.close();
await source.destroy();
