/** Two instances of one initiator on one database, and how far their transactions are. */
import { z } from 'zod';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Library, LittleApp, participantOf } from './little-app.js';

/** Starts both, with a participant of this name in each. */
export async function startTwo(
  { sandbox, library }: { sandbox: Sandbox; library: Library },
  methods: Parameters<typeof participantOf>[2],
  name: string,
  options: object = {},
) {
  const contract = library.decorators.defineParticipant({ name, version: 1, args: z.object({}) });
  const providers = [participantOf(library, contract, methods)];
  const one = () =>
    LittleApp.start({ sandbox, library, providers, participates: { participates: [contract], ...options } });
  return { contract, apps: await Promise.all([one(), one()]) };
}

export async function stateOf(sandbox: Sandbox, gid: string) {
  const query = 'SELECT state, attempts, last_error FROM dtx_tcc WHERE id = ?';
  const rows = await sql<{ state: string; attempts: number; last_error: string | null }>(sandbox, 'payment', query, [
    gid,
  ]);
  return rows[0];
}

export const untilOver = (sandbox: Sandbox, gid: string) =>
  until(`${gid} is over`, async () => /^CON.*ED$|^CANCELLED$/.test((await stateOf(sandbox, gid))?.state ?? ''));
