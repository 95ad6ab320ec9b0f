import { DataSource } from 'typeorm';
import { expect, it } from 'vitest';
import { OptionsError } from '../errors/errors.js';
import { pinSessions } from './pin-user-sessions.js';
import { limitWaits } from './user-pool-wait-limits.js';

const replicated = () =>
  new DataSource({
    type: 'mysql',
    replication: { master: { url: 'mysql://localhost/a' }, slaves: [{ url: 'mysql://localhost/a' }] },
  });

it.each([
  ['pinSessions', (source: DataSource) => pinSessions(source)],
  ['limitWaits with silenceSeconds', (source: DataSource) => limitWaits(source, { silenceSeconds: 20 })],
])('%s refuses a DataSource with replication in a line that names the option', (_, use) => {
  const source = replicated();
  expect(() => use(source)).toThrow(OptionsError);
  expect(() => use(source)).toThrow(/`replication` is not supported/);
});
