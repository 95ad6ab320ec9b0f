import { describe, expect, it } from 'vitest';
import { currentGid, currentTraceparent, traceparentFrom, withGid, withTraceparent } from './trace-and-gid-context.js';

const TRACE = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

describe('the trace and the gid of running work', () => {
  it('are null outside of any', () => {
    expect([currentTraceparent(), currentGid()]).toEqual([null, null]);
  });

  it('hold in all that the work awaits, and both together', async () => {
    const seen = await withTraceparent(TRACE, () =>
      withGid('order-1', async () => {
        await new Promise(setImmediate);
        return [currentTraceparent(), currentGid()];
      }),
    );
    expect(seen).toEqual([TRACE, 'order-1']);
    expect([currentTraceparent(), currentGid()]).toEqual([null, null]);
  });

  it.each([undefined, null, '', 'nonsense', `${TRACE}x`, TRACE.toUpperCase()])(
    'are those of the surrounding work if the traceparent is %j',
    (bad) => {
      const seen = withTraceparent(TRACE, () => withTraceparent(bad, () => withGid(null, currentTraceparent)));
      expect(seen).toBe(TRACE);
    },
  );
});

describe('traceparentFrom', () => {
  it('returns the traceparent of the caller', () => {
    expect(traceparentFrom(TRACE)).toBe(TRACE);
  });

  it.each([undefined, '', 'nonsense', [TRACE], `${TRACE}\n`])('begins a new trace for %j', (header) => {
    const begun = traceparentFrom(header);
    expect(begun).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(begun).not.toBe(TRACE);
    expect(traceparentFrom(header)).not.toBe(begun);
  });
});
