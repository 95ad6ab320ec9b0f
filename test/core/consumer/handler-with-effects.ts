/** A service with one handler, which a test gives. The table `effect` shows which work of the handler is committed. */
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

export const library = libraryOf();
const contract = contractOf(library, 'message');
let count = 0;

export type Handle = (tx: EntityManager, message: { gid: string }) => Promise<unknown>;
type StartOptions = Partial<ServiceOptions> & { decorate?: MethodDecorator[] };
export const INSERT = 'INSERT INTO effect VALUES (?)';

const createEffects = (sandbox: Sandbox) =>
  sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');

function startWith(sandbox: Sandbox, handle: Handle, options: StartOptions = {}): Promise<LittleService> {
  const { decorate = [], ...rest } = options;
  const mount = (target: object, name: string | symbol, descriptor: PropertyDescriptor) => {
    for (const one of [library.OnMessage(contract) as MethodDecorator, ...decorate]) one(target, name, descriptor);
  };
  const refused = async (tx: EntityManager, { gid }: { gid: string }) => tx.query(INSERT, [`${gid}.refused`]);
  return LittleService.start({
    sandbox,
    library,
    core: { inbox: { attemptsMax: 2 } },
    ...rest,
    controllers: [
      controllerOf([
        [mount, handle],
        [library.OnRejected(contract), refused],
      ]),
    ],
  });
}

/** Sends one message. Returns its inbox row once it is handled or parked. */
async function sendOne(
  sandbox: Sandbox,
  service: LittleService,
): Promise<{ gid: string; state: string; error: string | null }> {
  const gid = `message-${++count}`;
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
  const [row] = await until('the message is handled or parked', async () => {
    const query = `SELECT state, last_error AS error FROM dtx_inbox WHERE gid = ? AND state IN ('HANDLED', 'PARKED')`;
    const rows = await sql<{ state: string; error: string | null }>(sandbox, 'payment', query, [gid]);
    return rows.length > 0 && rows;
  });
  return { gid, ...row! };
}

const effectsOf = async (sandbox: Sandbox, gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT gid FROM effect WHERE gid = ?', [gid])).length;

/** Databases of one spec file, and a service that each of its tests starts with a handler of its own. */
export function useHandler(name: string) {
  let sandbox: Sandbox;
  let service: LittleService;
  beforeAll(async () => {
    sandbox = await freshSandbox(name, { audited: false });
    await createEffects(sandbox);
  });
  afterEach(() => service?.close());
  return {
    get sandbox() {
      return sandbox;
    },
    get source() {
      return service.source;
    },
    start: async (handle: Handle, options: StartOptions = {}) => {
      service = await startWith(sandbox, handle, options);
    },
    handled: () => sendOne(sandbox, service),
    effects: (gid: string) => effectsOf(sandbox, gid),
  };
}
