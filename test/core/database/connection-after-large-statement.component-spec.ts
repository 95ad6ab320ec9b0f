import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';

const library = libraryOf();
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('closed_by_server', { audited: false });
});

test('a connection that the server closes after too large a statement is not used again', async () => {
  const core = { ownPoolSize: 1, scanIntervalMs: 60_000 };
  const service = await LittleService.start({ sandbox, library, core });
  onTestFinished(() => service.close());
  const { own } = service.get(library.Database);
  const [row] = await own.query('SELECT @@max_allowed_packet AS max');
  const tooLarge = 'x'.repeat(Number(row!.max) + 1);
  for (let n = 0; n < 5; n++) {
    await expect(own.query('SELECT LENGTH(?)', [tooLarge])).rejects.toThrow();
    await expect(own.query("SELECT 'well' AS health")).resolves.toEqual([{ health: 'well' }]);
  }
});
