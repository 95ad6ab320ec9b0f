// The way from the broken step to the end of its work.
import { call } from '../../shop/app-calls.js';
import type { Healing } from './recovery-watch.js';
import type { BreakContext } from './run.js';
import type { Stimulus } from './stimulus.js';
import { untilGid } from './until-gid.js';

interface Followed {
  readonly healing: Healing;
  /** Null until a row or an answer names the work. */
  readonly gid: string | null;
}

/** Follows the recovery until the work is done, or until only a far attempt is left. */
export async function follow(
  context: Pick<BreakContext, 'watch' | 'onGid'>,
  stimulus: Stimulus,
  boundMs: number,
  { isPatient = false }: { isPatient?: boolean } = {},
): Promise<Followed> {
  const { watch, onGid } = context;
  const end = Date.now() + boundMs;
  // The purchase may not exist before the client repeats its call. Then its id comes with the answer.
  const found = await untilGid(stimulus, watch.databases, boundMs);
  if (!found) return { healing: 'open', gid: null };
  const { gid } = found;
  onGid?.(gid);
  if (found.isRefusal) return { healing: 'healed', gid };
  const leftMs = Math.max(1_000, end - Date.now());
  if (stimulus.isHealed) return { healing: (await stimulus.isHealed(leftMs)) ? 'healed' : 'open', gid };
  return { healing: await watch.untilHealed(gid, { boundMs: leftMs, isPatient }), gid };
}

/**
 * As `follow`, while all apps run. Attempts that are far away are made due, as an operator would do it: their wait comes from
 * failures during the break, and is minutes long. Returns the id of the work, or null if it did not heal in time.
 */
export async function heal(context: BreakContext, stimulus: Stimulus, boundMs: number): Promise<string | null> {
  const end = Date.now() + boundMs;
  let { healing, gid } = await follow(context, stimulus, boundMs);
  if (healing === 'postponed' && gid !== null) {
    await retryPostponed(context, gid);
    ({ healing, gid } = await follow(context, stimulus, end - Date.now(), { isPatient: true }));
  }
  if (healing === 'healed') return gid;
  context.say(`   not healed within ${boundMs / 1_000} s. This is left:`);
  await context.watch.showNow(gid);
  return null;
}

async function retryPostponed({ watch, status, say }: BreakContext, gid: string): Promise<void> {
  const headers = { authorization: `Bearer ${status.token}` };
  const body = { note: 'the next attempt was far away after a break' };
  for (const { app, id, isPostponed } of (await watch.openRows(gid)) ?? []) {
    if (!isPostponed) continue;
    const path = `/dtx/transactions/${id}/retry`;
    const answer = await call('POST', `${status.urls[app]}${path}`, { headers, body });
    // 409: it was settled meanwhile.
    say(`   ${app}: the next attempt was far away, since attempts had failed: POST ${path} answered ${answer.status}`);
  }
}
