import { describe, expect, it } from 'vitest';
import { endedWell } from './acceptable-outcomes.js';
import { findFailpoint } from './known-failpoints.js';

const cancelled = (reason: string) => ({ status: 'CANCELLED', reason });

describe('endedWell', () => {
  const point = findFailpoint('half-message.committed');

  it.each(['OUT_OF_STOCK', 'INSUFFICIENT_FUNDS'])('accepts a refusal with %s', (reason) => {
    expect(endedWell(point, cancelled(reason))).toBe(true);
  });

  it.each(['UNKNOWN_BUYER', 'TIMEOUT'])('does not accept a refusal with %s', (reason) => {
    expect(endedWell(point, cancelled(reason))).toBe(false);
  });

  it('does not accept a purchase that is still PENDING', () => {
    expect(endedWell(point, null)).toBe(false);
  });

  it('accepts TIMEOUT only of TCC, whose transactions are cancelled at the deadline', () => {
    expect(endedWell(findFailpoint('tcc.decided'), cancelled('TIMEOUT'))).toBe(true);
  });

  it('accepts only a refusal at the point that a refused sale reaches', () => {
    const rolledBack = findFailpoint('half-message.rolled-back');
    expect(endedWell(rolledBack, { status: 'CONFIRMED' })).toBe(false);
    expect(endedWell(rolledBack, cancelled('OUT_OF_STOCK'))).toBe(true);
  });
});
