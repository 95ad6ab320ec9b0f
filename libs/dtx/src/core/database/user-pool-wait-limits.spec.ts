import { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { OptionsError } from '../errors/errors.js';
import { pinSessions } from './pin-user-sessions.js';
import { limitWaits } from './user-pool-wait-limits.js';

const source = () => new DataSource({ type: 'mysql', url: 'mysql://root@127.0.0.1:1/shop' });
/** An unset variable is NaN by `Number(process.env.NAME)`. Each of these would mean no limit, or fail in each session. */
const WRONG = [Number.NaN, 0, -1, 1.5, Number.POSITIVE_INFINITY, '5', null];

describe.each(['acquireMs', 'statementMs', 'silenceSeconds'])('limitWaits with %s', (name) => {
  it.each(WRONG)('refuses %j', (value) => {
    const limit = () => limitWaits(source(), { [name]: value });
    expect(limit).toThrow(OptionsError);
    expect(limit).toThrow(`limitWaits.${name}: `);
  });
});

describe('pinSessions', () => {
  it.each(WRONG)('refuses the lock wait %j', (lockWaitSeconds) => {
    const pin = () => pinSessions(source(), { lockWaitSeconds: lockWaitSeconds as number });
    expect(pin).toThrow(OptionsError);
    expect(pin).toThrow('pinSessions.lockWaitSeconds: ');
  });

  it('names an unknown option', () => {
    expect(() => pinSessions(source(), { lockWaitSecond: 3 } as object)).toThrow(/pinSessions: Unrecognized key/);
  });
});

it('takes limits, and none', () => {
  limitWaits(source(), { acquireMs: 5_000, statementMs: 5_000, silenceSeconds: 20 });
  limitWaits(source(), {});
  pinSessions(source());
});
