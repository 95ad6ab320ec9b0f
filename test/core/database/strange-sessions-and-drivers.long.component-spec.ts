import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { prepareBranch } from '../../fixtures/xa-branch-database.js';
import { prepareStrange, STRANGE, strangeUrl } from './strange-session-accounts.js';
import { prepareWays } from './transaction-ending-statements.js';
import { heardOf, PLACES, Places, stepsOf } from './transaction-entry-points.js';

/** The library stores values unchanged, whatever the sessions of the server and the options of the driver are. */
const library = libraryOf();
const TRICKY = `o'brien \\ \\' " \`?:name ; COMMIT -- é 你好 🎉 \n\t\u0001 ' OR 1=1 -- `;
let sandbox: Sandbox;
let names: string[];

beforeAll(async () => {
  sandbox = await freshSandbox('strange_sessions', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', 'CREATE TABLE heard (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
  await prepareWays(sandbox);
  names = await prepareStrange(sandbox);
});

/** Every place, a message with a tricky text in each, and its row as it is stored. */
async function tryAll(places: Places): Promise<void> {
  for (const place of PLACES) {
    const unit = async (tx: EntityManager, gid: string) => {
      await tx.query(`INSERT INTO step VALUES ('${gid}', 1)`);
      await places.tell(tx, gid, TRICKY);
    };
    const { gid, error } = await places.run(place, unit);
    if (place !== 'Cancel') expect(error, place).toBeUndefined();
    await places.quiet(place, gid);
    expect([place, await stepsOf(sandbox, gid), await heardOf(sandbox, gid)]).toEqual([place, [1], 1]);
    expect(places.texts.get(gid)).toBe(TRICKY);
    const [row] = await sql<{ payload: string }>(
      sandbox,
      'payment',
      `SELECT payload FROM dtx_outbox WHERE gid = ? AND contract = 'test.told'`,
      [gid],
    );
    expect(JSON.parse(row!.payload), place).toEqual({ gid, text: TRICKY });
  }
}

async function withPlaces(
  options: Partial<Parameters<typeof Places.open>[0]>,
  work: (places: Places) => Promise<void>,
) {
  const xa = await prepareBranch(sandbox, 'inventory', library);
  const places = await Places.open({ sandbox, library, xa, ...options });
  try {
    await work(places);
  } finally {
    await places.close();
  }
}

describe('a server whose sessions are', () => {
  // Known only once the servers are asked: MariaDB has more modes than MySQL.
  const all = [...Object.keys(STRANGE), 'empty', 'oracle', 'simultaneous'].filter((name) => name !== 'latin');

  test.each(all)('every scheme stores and sends its values unchanged in sessions that are %s', async (name) => {
    if (!names.includes(name)) return;
    await withPlaces({ url: strangeUrl(sandbox, 'payment', name) }, tryAll);
  });

  test('a server that forces another character set is refused in one line that names it', async () => {
    const open = Places.open({ sandbox, url: strangeUrl(sandbox, 'payment', 'latin'), library });
    await expect(open).rejects.toThrow('character_set_client');
  });

  test('a server that forces another character set works if the DataSource pins its sessions', async () => {
    await withPlaces({ url: strangeUrl(sandbox, 'payment', 'latin'), prepare: library.pinSessions }, tryAll);
  });
});

interface Field {
  readonly type: string;
  string(): string | null;
}
/** Numbers as words, dates as days: whatever a user may have wished for. */
const oddly = (field: Field, next: () => unknown) => {
  if (/LONG|TINY|INT/.test(field.type)) return `number ${field.string()}`;
  return /DATE|TIME/.test(field.type) ? field.string()?.slice(0, 10) : next();
};

describe('a DataSource whose driver is set', () => {
  test.each([
    ['dateStrings', { dateStrings: true }],
    ['to read values in its own way', { extra: { typeCast: oddly } }],
    ['numbers without strings', { supportBigNumbers: false, bigNumberStrings: false, extra: { decimalNumbers: true } }],
    ['jsonStrings off, named placeholders', { extra: { jsonStrings: false, namedPlaceholders: true } }],
    ['to count changed rows', { extra: { flags: ['-FOUND_ROWS'] } }],
    ['several statements', { multipleStatements: true }],
    ['another zone', { timezone: '+08:00' }],
    ['an isolation level', { isolationLevel: 'REPEATABLE READ' as const }],
    ['to use a static parser', { extra: { disableEval: true } }],
  ])('%s: every scheme works', async (_, source) => {
    await withPlaces({ source: source as object }, tryAll);
  });

  test('a DataSource whose driver rewrites statements is refused', async () => {
    const source = { extra: { queryFormat: (query: string) => query } };
    await expect(Places.open({ sandbox, library, source })).rejects.toThrow('queryFormat');
  });
});

afterAll(async () => {
  for (const app of ['order', 'payment', 'inventory'] as const) await sql(sandbox, app, `SET GLOBAL init_connect = ''`);
});
