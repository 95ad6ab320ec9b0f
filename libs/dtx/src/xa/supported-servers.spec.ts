import { describe, expect, it } from 'vitest';
import { OptionsError } from '../core/errors/errors.js';
import { isOlder, refusalOfXa } from './supported-servers.js';

describe('refusalOfXa', () => {
  const answered = (errno: number, message: string) => Object.assign(new Error(message), { errno });

  it('a server that lists branches and refuses to begin one, as a Galera node does, is refused with its words', () => {
    const words = "This version of MariaDB doesn't yet support 'XA transactions with Galera replication'";
    const refusal = refusalOfXa(answered(1235, words)) as Error;
    expect(refusal).toBeInstanceOf(OptionsError);
    expect(refusal.message).toContain(`this server refuses XA START: ${words}`);
  });

  it.each([
    ['a lost connection', Object.assign(new Error('lost'), { errno: -104, code: 'ECONNRESET' })],
    ['a node that is not ready', answered(1047, 'WSREP has not yet prepared node')],
    ['too many connections', answered(1040, 'Too many connections')],
  ])('%s is retried as unavailable', (_, error) => {
    expect(refusalOfXa(error)).toBe(error);
  });
});

describe('isOlder', () => {
  it.each([
    ['8.0.28', true],
    ['8.0.29', false],
    ['8.0.29-0ubuntu0.22.04.1', false],
    ['8.0.9', true],
    ['8.4.0', false],
    ['7.9.99', true],
    ['9.0.0', false],
    ['10.0.1-log', false],
    ['unknown', true],
  ])('compares %s with 8.0.29 by its numbers: %s', (version, expected) => {
    expect(isOlder(version, [8, 0, 29])).toBe(expected);
  });
});
