import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import type * as Dtx from '../../../libs/dtx/src/index.js';
import {
  contractOf,
  controllerOf,
  type Library,
  LittleService,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { participantOf, libraryOf as tccLibraryOf } from '../../tcc/little-app.js';

/** What runs inside a transaction at a place: two steps, with something between them. */
export type Unit = (tx: EntityManager, gid: string) => Promise<void>;

/** A service with a unit of work at every place where the library, or its user, runs one in a transaction. */
export class Places {
  /** What the messages of the units have said. */
  readonly texts = new Map<string, string | undefined>();
  private unit: Unit = async () => {};
  private count = 0;
  private readonly redis: Redis;
  private readonly name = randomUUID().slice(0, 8);

  private constructor(
    readonly service: LittleService,
    private readonly library: Library,
    private readonly sandbox: Sandbox,
    private readonly contracts: ReturnType<typeof contractsOf>,
  ) {
    this.redis = new Redis(sandbox.redis);
  }

  static async open(options: Omit<ServiceOptions, 'controllers' | 'providers'>, root?: string): Promise<Places> {
    const { library, sandbox } = options;
    const contracts = contractsOf(library);
    let places: Places;
    const run: Unit = (tx, gid) => places.unit(tx, gid);
    const service = await LittleService.start({
      core: { inbox: { attemptsMax: 2 } },
      ...options,
      controllers: [handlersOf(library, contracts, { sandbox, run, hear: (gid, text) => places.texts.set(gid, text) })],
      providers: participantsOf(root, contracts, run),
    });
    places = new Places(service, library, sandbox, contracts);
    return places;
  }

  /** Runs a unit at a place, to its end. Resolves to the caller's error, if any. */
  async run(place: Place, unit: Unit): Promise<{ gid: string; error: unknown }> {
    const gid = `${place}-${this.name}-${++this.count}`.replace(/[^0-9A-Za-z.-]/g, '-');
    this.unit = unit;
    const error = await this.acts[place](gid).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    return { gid, error };
  }

  /** A message that says whether its transaction was committed. */
  tell(tx: EntityManager, gid: string, text?: string): Promise<string> {
    return this.service.get(this.library.LocalMessages).append(tx, this.contracts.told, { gid, text });
  }

  /** Every message of the unit that is on its way has come: the rows of its senders are done, or there are none. */
  quiet(place: Place, gid: string): Promise<unknown> {
    return until(`the messages of ${gid} are done`, async () => {
      const open = await sql(this.sandbox, 'payment', `SELECT 1 FROM dtx_outbox WHERE gid = ? AND state <> 'DONE'`, [
        gid,
      ]);
      return open.length === 0 && (place !== 'half message' || this.isHalfQuiet(gid));
    });
  }

  /** Sent and handled, or ruled back. */
  private async isHalfQuiet(gid: string): Promise<boolean> {
    const rows = await sql<{ state: string }>(this.sandbox, 'payment', 'SELECT state FROM dtx_half WHERE gid = ?', [
      gid,
    ]);
    if (rows.some(({ state }) => state === 'DONE')) return (await heardOf(this.sandbox, `${gid}.half`)) > 0;
    return rows.every(({ state }) => state === 'ROLLED_BACK');
  }

  /** How many have been told that a unit is done in part: its caller by an error, or a person by an alert. */
  async told(place: Place, gid: string, error: unknown): Promise<number> {
    const alerts = await sql(this.sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE gid = ?', [gid]);
    const isCallers = ['inTransaction', 'dataSource.transaction', 'half message', 'last resource of XA'].includes(
      place,
    );
    return isCallers ? Number(error !== undefined) : alerts.length;
  }

  async close(): Promise<void> {
    this.redis.disconnect();
    await this.service.close();
  }

  private readonly acts: Record<Place, (gid: string) => Promise<unknown>> = {
    inTransaction: (gid) => this.library.inTransaction(this.service.source, (tx) => this.unit(tx, gid)),
    'dataSource.transaction': (gid) => this.service.source.transaction((tx) => this.unit(tx, gid)),
    'half message': (gid) =>
      this.service.get(this.library.HalfMessages).send(this.contracts.half, { gid }, (tx) => this.unit(tx, gid)),
    handler: (gid) => this.send(this.contracts.handler, { gid }),
    'retried handler': (gid) => this.send(this.contracts.handler, { gid, text: 'fail first' }),
    '@OnRejected': (gid) => this.send(this.contracts.refusing, { gid }),
    'Redis consumer': (gid) => this.send(this.contracts.redis, { gid }),
    Try: (gid) => this.tcc(gid, this.contracts.try),
    Confirm: (gid) => this.tcc(gid, this.contracts.confirm),
    Cancel: (gid) => this.tcc(gid, this.contracts.cancel),
    'last resource of XA': (gid) =>
      this.service
        .get(this.library.Xa)
        .run(['payment', 'inventory'], ({ payment }) => this.unit(payment, gid), { gid }),
  };

  /** To a consumer of this service; over when the consumer's row is settled or parked. */
  private async send(contract: Dtx.Contract<{ gid: string; text?: string }>, payload: { gid: string; text?: string }) {
    const { source } = this.service;
    const publish = (tx: EntityManager) =>
      contract.replicated
        ? this.service.get(this.library.ConfirmedMessages).publish(tx, contract, payload)
        : this.service.get(this.library.LocalMessages).append(tx, contract, payload);
    const id = await source.transaction(publish);
    await until(`${payload.gid} is handled or parked`, async () => {
      const of = `gid = ? AND consumer = ? AND state IN ('HANDLED', 'PARKED')`;
      const rows = await sql(this.sandbox, 'payment', `SELECT 1 FROM dtx_inbox WHERE ${of}`, [
        payload.gid,
        contract.consumers[0],
      ]);
      return rows.length > 0 || (contract === this.contracts.redis && (await this.isDoneByRedis(id)));
    });
  }

  private async isDoneByRedis(messageId: string): Promise<boolean> {
    return (await this.redis.get(`dtx:payment.redis:${messageId}`)) === 'done';
  }

  private async tcc(gid: string, participant: Dtx.Participant<object>): Promise<void> {
    const tcc = this.service.get(this.library.Tcc);
    const outcome = await tcc.run({ gid }, (t) => {
      t.call(participant, {});
      if (participant === this.contracts.cancel) t.call(this.contracts.refuser, {});
    });
    await until(`${gid} is carried out or parked`, async () => {
      const rows = await sql<{ state: string }>(this.sandbox, 'payment', 'SELECT state FROM dtx_tcc WHERE id = ?', [
        gid,
      ]);
      return /CONFIRMED|CANCELLED|PARKED/.test(rows[0]?.state ?? '');
    });
    if (outcome.status !== 'CONFIRMED') throw new Error(`told ${outcome.status}`);
  }
}

export const PLACES = [
  'inTransaction',
  'dataSource.transaction',
  'half message',
  'handler',
  'retried handler',
  '@OnRejected',
  'Redis consumer',
  'Try',
  'Confirm',
  'Cancel',
  'last resource of XA',
] as const;
export type Place = (typeof PLACES)[number];

/** The steps that a unit has left, in order. */
export async function stepsOf(sandbox: Sandbox, gid: string): Promise<number[]> {
  const rows = await sql<{ n: number }>(sandbox, 'payment', 'SELECT n FROM step WHERE gid = ? ORDER BY n', [gid]);
  return rows.map(({ n }) => n);
}

export async function heardOf(sandbox: Sandbox, gid: string): Promise<number> {
  return (await sql(sandbox, 'payment', 'SELECT gid FROM heard WHERE gid = ?', [gid])).length;
}

function contractsOf(library: Library) {
  const participant = (name: string) =>
    library.defineParticipant({ name: `payment.${name}`, version: 1, args: z.object({}) });
  return {
    told: contractOf(library, 'told'),
    handler: contractOf(library, 'handler'),
    refusing: contractOf(library, 'refusing'),
    redis: contractOf(library, 'redis', { replicated: true }),
    half: contractOf(library, 'half', { replicated: true }),
    try: participant('try'),
    confirm: participant('confirm'),
    cancel: participant('cancel'),
    refuser: participant('refuser'),
  };
}

function handlersOf(
  library: Library,
  contracts: ReturnType<typeof contractsOf>,
  { sandbox, run, hear }: { sandbox: Sandbox; run: Unit; hear: (gid: string, text?: string) => void },
) {
  const { OnMessage, OnRejected, Rejected } = library;
  const failed = new Set<string>();
  const heard =
    (suffix = '') =>
    async (_: EntityManager, { gid, text }: { gid: string; text?: string }) => {
      hear(gid + suffix, text);
      await sql(sandbox, 'payment', 'INSERT INTO heard VALUES (?)', [gid + suffix]);
    };
  const handle = async (tx: EntityManager, { gid, text }: { gid: string; text?: string }) => {
    if (text === 'fail first' && !failed.has(gid)) {
      failed.add(gid);
      throw new Error('a passing failure');
    }
    await run(tx, gid);
  };
  const refuse = async () => {
    throw new Rejected('NO');
  };
  return controllerOf([
    [OnMessage(contracts.told), heard()],
    [OnMessage(contracts.half), heard('.half')],
    [OnMessage(contracts.handler), handle],
    [OnMessage(contracts.redis, { duplicates: 'redis' }), handle],
    [OnMessage(contracts.refusing), refuse],
    [OnRejected(contracts.refusing), handle],
  ]);
}

function participantsOf(root: string | undefined, contracts: ReturnType<typeof contractsOf>, run: Unit) {
  const library = tccLibraryOf(root);
  const unit = (tx: EntityManager, _: object, { gid }: Dtx.TccBranch) => run(tx, gid);
  const refuse = async () => {
    throw new library.Rejected('NO');
  };
  return [
    participantOf(library, contracts.try, { try: unit }),
    participantOf(library, contracts.confirm, { confirm: unit }),
    // The refusal may come before this Try, and without its Try a Cancel is not called otherwise.
    participantOf(library, contracts.cancel, { cancel: unit, withoutTry: true }),
    participantOf(library, contracts.refuser, { try: refuse }),
  ];
}
