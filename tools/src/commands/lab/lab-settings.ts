// The token and the port of the lab.
import { randomBytes } from 'node:crypto';
import type { Say } from '../../cli/say-type.js';
import { chooseLabPort } from '../../process/app-ports.js';
import { Lab } from './lab.js';

/** Starts the lab and prints where it is. `DTX_LAB_TOKEN` is used if it is set, otherwise the token is new in each run. */
export async function startLab({ say, host }: { say: Say; host?: string }): Promise<{ lab: Lab; lines: string[] }> {
  const token = process.env.DTX_LAB_TOKEN || randomBytes(18).toString('base64url');
  const lab = await Lab.start({ token, port: await chooseLabPort({ say }), host });
  const lines = [`lab        ${lab.url}  (open it in a browser: buy, break and watch)`, `lab token  ${token}`];
  for (const line of lines) say(line);
  return { lab, lines };
}
