import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant } from '../../libs/dtx/src/index.js';
import { AppProcess } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

const library = libraryOf();
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_invalid', { audited: false });
});

const contractOf = (name: string): Participant<object> =>
  library.decorators.defineParticipant({ name, version: 1, args: z.object({}) });
const made = (name: string) => participantOf(library, contractOf(name), {});

test.each([0, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 30 * 86_400_000])(
  'a transaction with timeoutMs %d begins nothing',
  async (timeoutMs) => {
    const app = await LittleApp.start({ sandbox, library, providers: [made('payment.funds')] });
    const begun = async () => (await app.source.query('SELECT COUNT(*) AS n FROM dtx_tcc'))[0].n;
    const before = await begun();
    const run = app.tcc.run({ timeoutMs }, (t) => t.call(contractOf('payment.funds'), {}));
    await expect(run).rejects.toThrow(/invalid timeoutMs of a TCC transaction/);
    expect(await begun()).toEqual(before);
    await app.close();
  },
);

test.each([
  ['arguments that do not fit', { n: 'one' }, /arguments do not fit TCC participant payment\.funds v1: n: /],
  ['no branch at all', null, /at least one branch/],
])('a transaction with %s begins nothing', async (_, args, error) => {
  const contract = library.decorators.defineParticipant({
    name: 'payment.funds',
    version: 1,
    args: z.object({ n: z.int() }),
  });
  const app = await LittleApp.start({ sandbox, library, providers: [participantOf(library, contract, {})] });
  const begun = async () => (await app.source.query('SELECT COUNT(*) AS n FROM dtx_tcc'))[0].n;
  const before = await begun();
  await expect(app.tcc.run({}, (t) => args && t.call(contract, args as never))).rejects.toThrow(error);
  expect(await begun()).toEqual(before);
  await app.close();
});

test('a wrong option stops an app with one line that names it', async () => {
  const app = AppProcess.spawn('payment', { sandbox, options: { tcc: { timeoutMs: 0 } }, label: 'wrong' });
  await app.untilExited();
  expect(app.log()).toMatch(/^payment: DTX_OPTIONS is wrong: tcc\.timeoutMs: .*\n$/m);
});
