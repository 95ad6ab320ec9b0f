import { TooManyCalls } from '@nest-dtx/host';
import { Unavailable } from 'nest-dtx';
import { describe, expect, it } from 'vitest';
import { LongPolls } from './long-poll-quota.js';

const fill = (polls: LongPolls, caller: string, times: number) =>
  Array.from({ length: times }, () => polls.enter(caller));

describe('LongPolls.enter', () => {
  it('refuses a caller beyond its share, and admits other callers', () => {
    const polls = new LongPolls();
    fill(polls, 'greedy', 200);
    expect(() => polls.enter('greedy')).toThrow(TooManyCalls);
    expect(polls.enter('other')).toBeTypeOf('function');
  });

  it('refuses every caller while all places are taken', () => {
    const polls = new LongPolls();
    for (let n = 0; n < 5; n++) fill(polls, `caller-${n}`, 200);
    expect(() => polls.enter('another')).toThrow(Unavailable);
  });

  it('gives each place back once', () => {
    const polls = new LongPolls();
    for (let round = 0; round < 20; round++) {
      const leave = fill(polls, 'greedy', 200);
      for (const one of [...leave, ...leave]) one();
    }
    fill(polls, 'greedy', 200);
    expect(() => polls.enter('greedy')).toThrow(TooManyCalls);
  });
});
