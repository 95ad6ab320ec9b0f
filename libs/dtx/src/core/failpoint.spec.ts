import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OptionsError } from './errors/errors.js';
import { type Failpoint, parseFailpoints } from './failpoint.js';

const point: Failpoint = {
  name: 'test.step',
  scheme: 'test',
  step: 1,
  role: 'sender',
  disk: 'nothing',
  finisher: 'no',
};

describe('DTX_FAILPOINTS', () => {
  it.each([
    [undefined, []],
    ['', []],
    [' ; ;', []],
    ['tcc.decided=crash', [['tcc.decided', 'crash', Number.POSITIVE_INFINITY]]],
    ['a.b=crash;c.d-e=1*error', ['a.b', 'c.d-e'].map((name, i) => [name, ['crash', 'error'][i], [Infinity, 1][i]])],
    [' a.b = crash', null],
    ['a.b=3*pause ; c.d=lost;', ['a.b', 'c.d'].map((name, i) => [name, ['pause', 'lost'][i], [3, Infinity][i]])],
    ['a.b=2*delay(250)', [['a.b', 'delay', 2]]],
  ])('reads %j', (text, expected) => {
    if (expected === null) return expect(() => parseFailpoints(text)).toThrow(OptionsError);
    const found = [...parseFailpoints(text)].map(([name, armed]) => [name, armed.action.kind, armed.hitsLeft]);
    expect(found).toEqual(expected);
  });

  it('reads the time of a delay in milliseconds', () => {
    expect(parseFailpoints('a.b=delay(250)').get('a.b')?.action).toEqual({ kind: 'delay', ms: 250 });
  });

  it.each([
    'crash',
    'a.b',
    'a.b=',
    '=crash',
    'a.b=explode',
    'a.b=delay',
    'a.b=delay()',
    'a.b=delay(-1)',
    'a.b=delay(1.5)',
    'a.b=crash(1)',
    'a.b=*crash',
    'a.b=-1*crash',
    'a.b=1 * crash',
    'A.B=crash',
    'a.b=crash,c.d=crash',
    'a.b=crash;c.d',
  ])('rejects %j with one line that names DTX_FAILPOINTS', (text) => {
    expect(() => parseFailpoints(text)).toThrow(/^DTX_FAILPOINTS: cannot read [^\n]+$/);
  });

  it('parses any text or rejects it with that line', () => {
    const pieces = fc.constantFrom('a.b', '=', 'crash', '1*', 'delay(5)', ';', ' ', '\n', '(', '9'.repeat(400));
    const text = fc.oneof(
      fc.string(),
      fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        try {
          parseFailpoints(given);
        } catch (error) {
          expect(error).toBeInstanceOf(OptionsError);
          expect((error as Error).message).toMatch(/^DTX_FAILPOINTS: [^\n]+$/);
        }
      }),
    );
  });
});

describe('a failpoint', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'failpoint-'));
    vi.stubEnv('DTX_FAILPOINT_LOG', join(folder, 'hits'));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    vi.resetModules(); // the failpoints of these tests are not there for the next file
    rmSync(folder, { recursive: true });
  });

  /** Loads the module as a new process with these failpoints would. */
  async function armedWith(text: string | undefined, ...points: Failpoint[]) {
    vi.stubEnv('DTX_FAILPOINTS', text);
    vi.resetModules();
    const loaded = await import('./failpoint.js');
    for (const one of points) loaded.defineFailpoint(one);
    return loaded;
  }
  const hits = () =>
    readFileSync(join(folder, 'hits'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));

  it('runs only the step if it is disarmed or undefined', async () => {
    for (const { failpoint } of [await armedWith(undefined), await armedWith('other.step=error')]) {
      expect(await failpoint(point, async () => 7)).toBe(7);
      expect(await failpoint(undefined, async () => 8)).toBe(8);
    }
  });

  it('throws OutcomeUnknown before the step if armed with error, and after the step if armed with lost', async () => {
    for (const [action, isDone] of [
      ['error', false],
      ['lost', true],
    ] as const) {
      const { failpoint } = await armedWith(`test.step=${action}`, point);
      const step = vi.fn(async () => 7);
      await expect(failpoint(point, step)).rejects.toMatchObject({ name: 'OutcomeUnknown' });
      expect(step).toHaveBeenCalledTimes(isDone ? 1 : 0);
    }
    expect(hits()).toMatchObject([
      { name: 'test.step', action: 'error' },
      { name: 'test.step', action: 'lost' },
    ]);
  });

  it('acts on the first N hits only', async () => {
    const { failpoint } = await armedWith('test.step=2*error', point);
    for (let hit = 1; hit <= 2; hit++) await expect(failpoint(point, async () => hit)).rejects.toThrow('test.step');
    expect(await failpoint(point, async () => 3)).toBe(3);
    expect(hits()).toHaveLength(2);
  });

  it.each([
    ['crash', 'SIGKILL'],
    ['pause', 'SIGSTOP'],
  ])('armed with %s writes the hit, then sends %s to its own process after the step', async (action, signal) => {
    let seen: unknown[] = [];
    const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
      seen = hits();
      return true;
    });
    const { failpoint } = await armedWith(`test.step=1*${action}`, point);
    const step = vi.fn(async () => 7);
    void failpoint(point, step);
    await vi.waitFor(() => expect(kill).toHaveBeenCalledWith(process.pid, signal));
    expect(step).toHaveBeenCalledTimes(1);
    expect(seen).toMatchObject([{ name: 'test.step', action, pid: process.pid }]);
  });

  it('runs the step and passes its error on if armed with delay', async () => {
    const { failpoint } = await armedWith('test.step=delay(1)', point);
    expect(await failpoint(point, async () => 7)).toBe(7);
    await expect(failpoint(point, async () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(hits()).toHaveLength(1);
  });

  it('rejects unreadable text, an unknown name and any value in production at start', async () => {
    (await armedWith('test.step=error', point)).checkFailpoints();
    const unknown = await armedWith('test.stop=error', point);
    expect(() => unknown.checkFailpoints()).toThrow(/^DTX_FAILPOINTS: unknown failpoint test\.stop/);
    const unreadable = await armedWith('nonsense', point);
    expect(() => unreadable.checkFailpoints()).toThrow(/^DTX_FAILPOINTS: cannot read "nonsense"/);
    vi.stubEnv('NODE_ENV', 'production');
    const production = await armedWith('test.step=error', point);
    expect(() => production.checkFailpoints()).toThrow(/^DTX_FAILPOINTS is refused with NODE_ENV=production$/);
  });

  it('rejects a second definition of the same name', async () => {
    const { defineFailpoint, allFailpoints } = await armedWith(undefined, point);
    expect(() => defineFailpoint(point)).toThrow(/test\.step is defined twice/);
    expect(allFailpoints()).toEqual([point]);
  });
});
