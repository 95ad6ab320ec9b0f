// The parts of a bench beside the purchases, by their names.
import { backlog } from './backlog.js';
import { bare } from './bare.js';
import { claims } from './claims.js';
import { delays } from './delays.js';
import { growth } from './growth.js';
import { keys } from './keys.js';
import { latency } from './latency.js';
import type { PlayPart } from './part.js';
import { recovery } from './recovery.js';
import { relay } from './relay.js';

export const PARTS = {
  relay,
  latency,
  recovery,
  backlog,
  claims,
  keys,
  delays,
  growth,
  bare,
} as const satisfies Record<string, PlayPart>;
export type Part = keyof typeof PARTS;
