import type { DataSource, EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'message');
let sandbox: Sandbox;
let service: LittleService;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('savepoints', { audited: false });
});

afterEach(() => service?.close());

describe('an append inside a savepoint', () => {
  const append = (tx: EntityManager, gid: string) => service.get(library.LocalMessages).append(tx, contract, { gid });
  const undone = async () => Promise.reject(new Error('undone'));
  const nested = async (tx: EntityManager, work: (inner: EntityManager) => Promise<unknown>) =>
    tx.transaction(work).catch(() => {});

  const ways: ReadonlyArray<readonly [string, (tx: EntityManager, gid: string) => Promise<unknown>, boolean]> = [
    ['that is rolled back sends nothing', (tx, gid) => nested(tx, (inner) => append(inner, gid).then(undone)), false],
    ['that is released sends', (tx, gid) => nested(tx, (inner) => append(inner, gid)), true],
    [
      'that is released inside one that is rolled back sends nothing',
      (tx, gid) => nested(tx, (outer) => nested(outer, (inner) => append(inner, gid)).then(undone)),
      false,
    ],
    [
      'by plain SQL that is rolled back sends nothing',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('ROLLBACK TO SAVEPOINT mine');
      },
      false,
    ],
    [
      'by plain SQL that is released sends',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('RELEASE SAVEPOINT mine');
      },
      true,
    ],
    [
      'that is set again under its name and rolled back sends nothing',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('ROLLBACK TO mine');
      },
      false,
    ],
  ];

  test.each(ways)('%s', async (_, way, isSent) => {
    const heard: string[] = [];
    const handle = async (_tx: EntityManager, { gid }: { gid: string }) => void heard.push(gid);
    const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
    service = await LittleService.start({ sandbox, library, controllers });
    const gid = `savepoint-${++count}`;
    const source: DataSource = service.source;
    await source.transaction(async (tx) => {
      await way(tx, gid);
      await append(tx, `${gid}.after`);
    });
    await until('the message after it is handled', () => heard.includes(`${gid}.after`));
    const rows = await sql(sandbox, 'payment', 'SELECT id FROM dtx_outbox WHERE gid = ?', [gid]);
    if (isSent) await until('the message is handled', () => heard.includes(gid));
    expect([rows.length > 0, heard.includes(gid)]).toEqual([isSent, isSent]);
  });
});
