import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { durableTables, tableNames } from '../testing/index.js';
import { componentsOf, SCHEMA_COMPONENTS, tablesOf } from './schema-components.js';
import { dtxGrantSql, dtxTableSql } from './table-sql.js';
import { dtxMigrations } from './typeorm-migrations.js';

const SOURCE = join('libs', 'dtx', 'src');
const sources = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
  .map((file) => readFileSync(join(SOURCE, file), 'utf8'));

describe('the list of schema components', () => {
  it('has every component that a module of the library registers', () => {
    const registered = sources.flatMap((text) =>
      [...text.matchAll(/addMigrations\((?:'(dtx-[\w-]+)'|(WITNESS)),/g)].map(([, name]) => name ?? 'dtx-xa-witness'),
    );
    expect(registered.length).toBeGreaterThan(10);
    expect(SCHEMA_COMPONENTS.map(({ component }) => component).sort()).toEqual(registered.sort());
  });

  it('has every table of the library', () => {
    const tables = tablesOf(componentsOf()).map(({ name }) => name);
    expect(tables).toEqual(expect.arrayContaining(Object.values(tableNames)));
    expect(tables).toEqual(expect.arrayContaining(durableTables.map(({ name }) => name)));
    expect(dtxGrantSql(`'app'@'%'`).join('\n')).toContain('DELETE ON dtx_probe TO');
  });

  it('rejects an unknown scheme', () => {
    expect(() => componentsOf(['workflow' as never])).toThrow(
      /unknown scheme "workflow": expected one or more of local-message/,
    );
  });

  it('has the core and the chosen scheme only', () => {
    const tables = tablesOf(componentsOf(['local-message'])).map(({ name }) => name);
    expect(tables).toEqual(expect.arrayContaining(['dtx_inbox', 'dtx_outbox']));
    expect(tables.filter((name) => /tcc|xa|half|notification/.test(name))).toEqual([]);
  });
});

describe('SQL for an administrator', () => {
  it('has no backslash, because sql_mode changes its meaning', () => {
    expect(dtxTableSql().filter((sql) => sql.includes('\\'))).toEqual([]);
  });

  it('runs no ALTER TABLE outside of a prepared statement with a condition', () => {
    expect(dtxTableSql().filter((sql) => sql.startsWith('ALTER'))).toEqual([]);
  });
});

describe('with a table prefix', () => {
  it('neither SQL nor GRANTs name a table with the default prefix', () => {
    const texts = [...dtxTableSql({ tablePrefix: 'red' }), ...dtxGrantSql('ACCOUNT', undefined, 'red')].join(';\n');
    expect(texts).toContain('CREATE TABLE IF NOT EXISTS red_schema_version');
    expect(texts).toContain('DELETE ON red_outbox TO ACCOUNT');
    expect(texts).toMatch(/table_name = ''?red_inbox/);
    expect(texts.match(/\bdtx_\w+/g)?.filter((name) => !/^dtx_(done|found|sql|step)$/.test(name))).toEqual([]);
  });

  it('the names of TypeORM migrations contain it, so that both environments run theirs', () => {
    const names = dtxMigrations({ schemes: ['xa-participant'], tablePrefix: 'red' }).map((one) => one.name);
    expect(names.at(-1)).toBe('DtxXaWitnessV1_red_1500000012001');
  });
});

describe('migrations for TypeORM', () => {
  const names = dtxMigrations().map((one) => one.name);

  it('have unique names that end in a time, which a release never changes', () => {
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => !/^Dtx\w+_15000\d{8}$/.test(name))).toEqual([]);
    expect(names.slice(0, 3)).toEqual([
      'DtxAlertV1_1500000001001',
      'DtxAlertV2_1500000001002',
      'DtxInboxV1_1500000002001',
    ]);
    expect(names.at(-1)).toBe('DtxKeyedV2_1500000015002');
  });

  it('have the name at the instance too, as TypeORM reads it', () => {
    expect(new (dtxMigrations()[0]!)().name).toBe(names[0]);
  });
});
