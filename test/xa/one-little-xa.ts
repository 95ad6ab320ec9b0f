import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { ALL, effectsOf, everywhere, type Library, LittleXa, prepareTables } from './little-xa.js';

/** One app for all tests of a file. After each of them, its connections are good and nothing is left: the next one goes through. */
export function oneLittleXa(name: string, library: Library) {
  const one = {
    sandbox: undefined as unknown as Sandbox,
    app: undefined as unknown as LittleXa,
    newGid: () => `${name}-${++count}`,
  };
  let count = 0;
  beforeAll(async () => {
    one.sandbox = await freshSandbox(name);
    await prepareTables(one.sandbox, library);
    one.app = await LittleXa.start({ sandbox: one.sandbox, library, xa: { timeoutMs: 10_000 } });
  });
  afterEach(async () => {
    const gid = one.newGid();
    await one.app.run(gid, everywhere(gid));
    expect(await effectsOf(one.sandbox, gid)).toEqual(ALL);
    await expectNothingLeft(one.sandbox);
  });
  afterAll(() => one.app?.close());
  return one;
}
