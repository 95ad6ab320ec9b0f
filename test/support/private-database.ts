import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
import { makePrivateDir, placeOf } from '../../tools/src/process/files.js';
import { endProcess, launch, pidOf } from '../../tools/src/process/processes.js';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { createMissingData, prepareDatabase } from '../../tools/src/servers/database-server.js';
import { databaseProgram } from '../../tools/src/servers/programs.js';
import { until } from './until.js';
import { servers, type World } from './world.js';

const PASSWORD = 'private-secret';

/** A database server for one spec file, with settings that no other test could live with. It has a certificate. */
export class PrivateDatabase {
  private constructor(
    private readonly pid: number,
    /** Of root, by TLS with any certificate. */
    readonly url: string,
    /** The certificate's own authority, as a file. */
    readonly authority: string,
  ) {}

  static async start(name: string): Promise<PrivateDatabase> {
    const program = databaseProgram(undefined);
    if ('lack' in program) throw new Error(`a private database needs ${program.lack}`);
    const dir = join(makePrivateDir(placeOf('test')), `private-${name}`);
    rmSync(dir, { recursive: true, force: true });
    makePrivateDir(dir);
    const port = await freePort();
    await createMissingData([dir], program);
    const { key, certificate } = await certificateIn(dir);
    const state = { secrets: { database: PASSWORD }, ports: { order: port } };
    const server = prepareDatabase({ dir, server: 'order', state, program });
    const tls = [`--ssl-ca=${certificate}`, `--ssl-cert=${certificate}`, `--ssl-key=${key}`];
    launch(dir, 'order', { ...server, args: [...(server.args ?? []), ...tls] });
    const url = `mysql://root:${PASSWORD}@127.0.0.1:${port}/?ssl={"rejectUnauthorized":false}`;
    const started = new PrivateDatabase(pidOf(dir, 'order')!, url, certificate);
    await until('the private database answers', () => started.sql('SELECT 1'), { withinMs: 100_000, everyMs: 200 });
    return started;
  }

  /** Three databases of this server, with a broker and a Redis that are shared. */
  async world(name: string): Promise<World> {
    const databases = { order: this.url, payment: this.url, inventory: this.url };
    return createSandbox({ ...servers(), databases }, name);
  }

  async sql(query: string): Promise<Array<Record<string, unknown>>> {
    const connection = await createConnection(this.url);
    try {
      const [rows] = await connection.query(query);
      return rows as Array<Record<string, unknown>>;
    } finally {
      await connection.end();
    }
  }

  async stop(): Promise<void> {
    await endProcess(this.pid);
  }
}

/** The same databases, reached in another way: by another account, or with another query. */
export function reachedBy(world: World, change: (url: URL) => void): World {
  const changed = (url: string) => {
    const copy = new URL(url);
    change(copy);
    return copy.href;
  };
  const { order, payment, inventory } = world.databases;
  return { ...world, databases: { order: changed(order), payment: changed(payment), inventory: changed(inventory) } };
}

export async function freePort(): Promise<number> {
  const taken = createServer();
  await new Promise<void>((listening) => taken.listen(0, '127.0.0.1', listening));
  const { port } = taken.address() as { port: number };
  await new Promise((closed) => taken.close(closed));
  return port;
}

/** A certificate that is its own authority, for this address only. */
async function certificateIn(dir: string): Promise<{ key: string; certificate: string }> {
  const [key, certificate] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate];
  await promisify(execFile)('openssl', [...made, ...names]);
  return { key, certificate };
}
