import { connect } from 'amqplib';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import type { Sandbox } from '../fixtures/sandbox.js';
import { APPS } from '../fixtures/three-apps.js';
import { xidOf } from '../xa/branches-by-hand.js';
import {
  aboutOf,
  type Installation,
  MERCHANT,
  type RecordedBranch,
  type RecordedQueue,
  readInstallation,
} from './installation-files.js';
import { shiftedTimes } from './shifted-times.js';

/** Longer than the leases and delays of the recording. So all work of the dead processes is due. */
const AGE_MS = 20 * 60_000;

/** Brings a recorded installation into a sandbox, as if it had been stopped 20 minutes ago. */
export async function restore(
  folder: string,
  sandbox: Sandbox,
  { merchant }: { merchant: string },
): Promise<Installation> {
  const byMs = Date.now() - AGE_MS - aboutOf(folder).recordedAtMs;
  const change = (text: string) => shiftedTimes(text.replaceAll(MERCHANT, merchant), byMs);
  const installation = readInstallation(folder, change);
  for (const app of APPS) {
    const connection = await createConnection({ uri: sandbox.databases[app], multipleStatements: true });
    await connection.query(await forServer(connection, installation.databases[app]));
    await connection.end();
  }
  for (const branch of installation.branches) await prepare(sandbox, branch);
  await fill(sandbox, installation.queues);
  return installation;
}

/** A dump of MariaDB in the words of the server. MySQL has another name for the collation without padding. */
async function forServer(connection: Connection, dump: string): Promise<string> {
  const [[row]] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
  return /mariadb/i.test(row!.version) ? dump : dump.replaceAll('utf8mb4_nopad_bin', 'utf8mb4_0900_bin');
}

/** The session ends after the PREPARE, as that of a dead process. */
async function prepare(sandbox: Sandbox, { app, gtrid, bqual, formatId, statements }: RecordedBranch): Promise<void> {
  const xid = xidOf(gtrid, bqual, formatId);
  const connection = await createConnection({ uri: sandbox.databases[app] });
  for (const statement of [`XA START ${xid}`, ...statements, `XA END ${xid}`, `XA PREPARE ${xid}`])
    await connection.query(statement);
  await connection.end();
}

/** A message whose delay is over goes where its queue would have sent it. */
async function fill(sandbox: Sandbox, queues: readonly RecordedQueue[]): Promise<void> {
  const connection = await connect(sandbox.rabbitmq);
  const channel = await connection.createConfirmChannel();
  for (const queue of queues) await channel.assertQueue(queue.name, { durable: true, arguments: queue.arguments });
  for (const { name, arguments: args, messages } of queues) {
    const to = String(args['x-dead-letter-routing-key'] ?? name);
    for (const { body, properties } of messages)
      channel.sendToQueue(to, Buffer.from(body), { ...properties, persistent: true });
  }
  await channel.waitForConfirms();
  await connection.close();
}
