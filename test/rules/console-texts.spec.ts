import { describe, expect, it } from 'vitest';
import { eventText } from '../../libs/console/src/event-text.js';
import { operatorHeader } from '../../libs/console/src/operator-header.js';
import { retryMeaning } from '../../libs/console/src/retry-meaning.js';
import { operatorOf } from '../../libs/dtx/src/ops/request-schemas.js';
import { durableTables } from '../../libs/dtx/src/testing/index.js';

const shown = durableTables.flatMap((table) => (table.shown ? [{ ...table, shown: table.shown }] : []));

describe('the console in Chinese', () => {
  /** Each event that a table can name, and those of every row. */
  const events = new Set(['sent by now', 'recorded', 'witness of payment: COMMITTED', 'gave up: no answer']);
  for (const action of ['retry', 'done', 'reject', 'acknowledge', 'reschedule'])
    for (const operator of ['alice', 'an unnamed operator']) events.add(`${action} by ${operator}: counted`);
  for (const { shown: table, openStates } of shown)
    for (const id of ['any', 'log.lost', 'verdicts.lost'])
      for (const state of [...openStates, 'DONE', 'CANCELLED', 'DELIVERED', 'ROLLED_BACK'])
        for (const value of [null, 'x', 'COMPENSATING']) {
          const row = { ...Object.fromEntries(table.columns.map((name) => [name, value])), id, state, created_at: 'x' };
          for (const [, event] of table.moments(row)) events.add(event);
        }

  it.each([...events])('has a text for the event %j', (event) => {
    expect(eventText(event, 'zh')).toMatch(/\p{Script=Han}/u);
    expect(eventText(event, 'en')).toBe(event);
  });

  it('leaves an event of a table of the app as it is', () => {
    expect(eventText('refund asked for', 'zh')).toBe('refund asked for');
  });
});

describe('the console', () => {
  const schemes = [...new Set(shown.flatMap(({ shown: { scheme } }) => (scheme ? [scheme] : [])))];

  it.each(schemes)('says what a retry of %s does', (scheme) => {
    expect(retryMeaning(scheme)).not.toBe('retryMeans');
  });

  it.each(['alice', 'Ærøskøbing', '王小明', "UTF-8''%zz", '100 %'])('sends the name %j as the app reads it', (name) => {
    expect(operatorHeader(name)).toMatch(/^[ -~]+$/);
    expect(operatorOf(operatorHeader(name))).toBe(name);
  });

  it('names itself for an operator without a name', () => {
    expect(operatorHeader('  ')).toBe('console');
  });
});
