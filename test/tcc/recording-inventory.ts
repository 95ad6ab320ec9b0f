/** Two participants of inventory that record each call with its initiator, and the table that they write to. */
import type { Type } from '@nestjs/common';
import { z } from 'zod';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Library, participantOf } from './little-app.js';

type Methods = Parameters<typeof participantOf>[2];

export const [PICK, SHIP] = ['inventory.pick', 'inventory.ship'] as const;
export const EFFECTS =
  'CREATE TABLE effect (n INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(64), KEY (gid))';

export const recorders = (library: Library): Type[] => [recorder(library, PICK), recorder(library, SHIP)];

function recorder(library: Library, name: string): Type {
  const write = (phase: string): NonNullable<Methods['try']> => {
    return (tx, _, { gid, initiator }) =>
      tx.query('INSERT INTO effect (gid, what) VALUES (?, ?)', [
        gid,
        `${name.split('.')[1]} ${phase} for ${initiator}`,
      ]);
  };
  const contract = library.decorators.defineParticipant({ name, version: 1, args: z.object({}) });
  return participantOf(library, contract, {
    try: write('try'),
    confirm: write('confirm'),
    cancel: write('cancel'),
  });
}

/** The calls of a transaction that have had an effect, in order. */
export async function effectsOf(sandbox: Sandbox, gid: string): Promise<string[]> {
  const query = 'SELECT what FROM effect WHERE gid = ? ORDER BY n';
  return (await sql<{ what: string }>(sandbox, 'inventory', query, [gid])).map(({ what }) => what);
}
