import { describe, expect, it } from 'vitest';
import { type Dependent, Savepoints } from './hooks-by-savepoint.js';

/** A hook after the commit is kept with its async context, and not as it was given. */
const dependent = (): Dependent => ({ afterEarlyCommit: async () => {} });
const [a, b, c] = [dependent(), dependent(), dependent()];
const set = (name: string) => ({ kind: 'savepoint', name }) as const;
const rollbackTo = (name: string) => ({ kind: 'rollback-to', name }) as const;
const release = (name: string) => ({ kind: 'release', name }) as const;

describe('Savepoints', () => {
  it('drops what depends on the transaction since the savepoint of a rollback, and keeps the rest', () => {
    const savepoints = new Savepoints();
    savepoints.depend(a);
    savepoints.follow(set('one'));
    savepoints.depend(b);
    savepoints.follow(rollbackTo('one'));
    savepoints.depend(c);
    expect(savepoints.has('one')).toBe(true);
    expect(savepoints.takeDependents()).toEqual([a, c]);
  });

  it('drops the savepoints that were set after the one of a rollback', () => {
    const savepoints = new Savepoints();
    for (const name of ['one', 'two', 'three']) savepoints.follow(set(name));
    savepoints.follow(rollbackTo('two'));
    expect(['one', 'two', 'three'].map((name) => savepoints.has(name))).toEqual([true, true, false]);
  });

  it('drops a savepoint and all later ones by a release, and keeps what depends on the transaction', () => {
    const savepoints = new Savepoints();
    savepoints.follow(set('one'));
    savepoints.depend(a);
    savepoints.follow(set('two'));
    savepoints.depend(b);
    savepoints.follow(release('one'));
    expect([savepoints.has('one'), savepoints.has('two')]).toEqual([false, false]);
    expect(savepoints.takeDependents()).toEqual([a, b]);
  });

  it('moves a savepoint that is set again to its new place', () => {
    const savepoints = new Savepoints();
    savepoints.follow(set('one'));
    savepoints.depend(a);
    savepoints.follow(set('one'));
    savepoints.depend(b);
    savepoints.follow(rollbackTo('one'));
    expect(savepoints.takeDependents()).toEqual([a]);
    savepoints.follow(release('one'));
    expect(savepoints.has('one')).toBe(false);
  });

  it('drops everything by a rollback to a savepoint that it has not seen', () => {
    const savepoints = new Savepoints();
    savepoints.depend(a);
    savepoints.follow(set('one'));
    savepoints.follow(rollbackTo('before the library looked'));
    expect(savepoints.takeDependents()).toEqual([]);
    expect(savepoints.has('one')).toBe(false);
  });

  it('hands out once what depends on the transaction', () => {
    const savepoints = new Savepoints();
    savepoints.depend(a);
    savepoints.takeDependents();
    expect(savepoints.takeDependents()).toEqual([]);
  });
});
