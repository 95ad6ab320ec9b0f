// One failpoint from arming to healing, told step by step.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { until } from '../command/deadline.mjs';
import { OperatorError } from '../command/entry.mjs';
import { expectOk } from '../demo/http.mjs';
import { refusalIn, untilFinal } from '../demo/purchase.mjs';
import { loseDecision, sendPurchase, sendRestock, sendUnreadable } from './stimulus.mjs';
import { endedWell, wayTo } from './ways.mjs';

const HIT_BOUND_MS = 60_000;
const HEAL_BOUND_MS = 120_000;
/** A paused process may hold an open transaction, which no other instance can finish: then it is killed all the same. */
const HEAL_BESIDE_PAUSED_MS = 60_000;
/** How long a killed app stays dead, so that the disk can be looked at as the crash left it. */
const HOLD_MS = 2_000;

/**
 * @param {{ point: object, mode: 'crash' | 'pause', control: object, status: object, watch: object, events: object,
 *   failpointLog: string, say: (line: string) => void }} context
 * @returns {Promise<boolean>} whether it healed
 */
export async function runBreak(context) {
  const { point, mode, control, status, failpointLog, say } = context;
  const way = wayTo(point, { mode, failpointLog });
  rmSync(failpointLog, { force: true });
  say(`1. restarting the ${point.app} app with ${way.env.DTX_FAILPOINTS}`);
  if (way.because) say(`   ${way.because}`);
  await control.ask('restart', { app: point.app, env: way.env, holdMs: HOLD_MS });

  const urls = { ...status.urls };
  const stimulus = await send(way, { urls, status, say });
  say(`2. ${stimulus.what}`);
  await untilHit(context);
  const gid = mode === 'crash' ? await afterCrash(context, stimulus) : await afterPause(context, { stimulus, urls });
  if (stimulus.parkedId) await settleByHand(context, { table: 'dtx_inbox', id: stimulus.parkedId });
  if (way.settles) await settleAllByHand(context, way.settles);
  return gid !== null && (await conclude(context, { gid, urls, stimulus }));
}

function send({ stimulus, scheme, wanted }, { urls, status, say }) {
  if (stimulus === 'unreadable') return sendUnreadable(status, scheme);
  if (stimulus === 'lost-decision') return loseDecision(status);
  return stimulus === 'restock' ? sendRestock({ urls, say }) : sendPurchase({ urls, scheme, wanted, say });
}

/** The point is written down before the process dies or stops: without that line nothing was shown. */
async function untilHit({ point, mode, failpointLog, say }) {
  const hit = await until(() => readHit(failpointLog, point.name), { boundMs: HIT_BOUND_MS });
  if (!hit)
    throw new OperatorError(
      `${point.name} was not reached within ${HIT_BOUND_MS / 1000} s; the app is still armed, restart the demo`,
    );
  say(
    `3. process ${hit.pid} ${mode === 'crash' ? 'killed' : 'stopped'} itself at ${point.name}. On disk it is now like this:`,
  );
  say(`   "${point.disk}"`);
}

function readHit(log, name) {
  if (!existsSync(log)) return null;
  const hits = readFileSync(log, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return hits.find((hit) => hit.name === name) ?? null;
}

async function afterCrash({ point, watch, events, say }, stimulus) {
  await watch.showNow(await stimulus.findGid(watch.databases));
  say(`4. the ${point.app} app is started again. Who finishes: "${point.finisher}"`);
  await untilBack(events, point.app);
  return heal(stimulus, watch, HEAL_BOUND_MS);
}

async function afterPause({ point, control, watch, events, say }, { stimulus, urls }) {
  await watch.showNow(await stimulus.findGid(watch.databases));
  say(`4. the stopped process stays as it is; a second instance starts. Who finishes: "${point.finisher}"`);
  const second = await control.ask('startSecond', { app: point.app });
  urls[point.app] = second.url;
  say(`   the second ${point.app} app is process ${second.pid} at ${second.url}`);
  let gid = await heal(stimulus, watch, HEAL_BESIDE_PAUSED_MS);
  say(
    gid
      ? '5. healed beside the stopped process, which is killed now'
      : '5. the stopped process still holds the work (an open transaction): it is killed now',
  );
  await control.ask('kill', { app: point.app });
  await untilBack(events, point.app);
  gid ??= await heal(stimulus, watch, HEAL_BOUND_MS);
  await control.ask('stopSecond', { app: point.app });
  return gid;
}

/** Its death first: that it was ready before, when it was armed, is old news. */
async function untilBack(events, app) {
  const died = await events.next('died', app, HIT_BOUND_MS);
  if (died && (await events.next('ready', app, HIT_BOUND_MS))) return;
  throw new OperatorError(`the ${app} app did not ${died ? 'come back' : 'die'}: see its log in .infra/demo`);
}

/** Follows the healing; resolves with the purchase's id, or null when it did not heal in time. */
async function heal(stimulus, watch, boundMs) {
  const end = Date.now() + boundMs;
  // The purchase may not exist before the client has repeated its call: then its id is known only with the answer.
  const gid = await until(() => stimulus.findGid(watch.databases), { boundMs });
  if (!gid) return null;
  if (stimulus.isHealed) return (await stimulus.isHealed(Math.max(1_000, end - Date.now()))) ? gid : null;
  return (await watch.untilHealed(gid, { boundMs: Math.max(1_000, end - Date.now()) })) ? gid : null;
}

/** What is PARKED waits for a person; here the person is this command, so that the demo goes on whole. */
async function settleByHand({ point, status, watch, say }, { table, id }) {
  const row = await watch.databases.query(point.app, `SELECT state FROM ${table} WHERE id = ?`, [id]);
  if (row[0]?.state !== 'PARKED')
    throw new OperatorError(`${id} should be PARKED, it is ${row[0]?.state ?? 'not there'}`);
  const path = `/dtx/transactions/${id}/resolve`;
  say(`   it is PARKED with one alert; a person settles it: POST ${path} {"outcome":"done"}`);
  const headers = { authorization: `Bearer ${status.token}` };
  const body = { outcome: 'done', note: 'shown by npm run break' };
  await expectOk('POST', `${status.urls[point.app]}${path}`, { body, headers });
}

async function settleAllByHand(context, table) {
  const { databases } = context.watch;
  const parked = () => databases.query(context.point.app, `SELECT id FROM ${table} WHERE state = 'PARKED'`);
  for (const { id } of await parked()) await settleByHand(context, { table, id });
}

async function conclude({ point, status, say }, { gid, stimulus }) {
  const answer = await stimulus.answered;
  if (!answer) return true; // no purchase was involved
  if (answer.orderId !== gid) {
    say(`BROKEN: the client was answered ${answer.orderId}, the databases know ${gid} under its Idempotency-Key`);
    return false;
  }
  const final = refusalIn(answer.answered) ?? (await untilFinal(status.urls, gid));
  say(`the purchase ${gid} is ${final?.status ?? 'still PENDING'}${final?.reason ? ` (${final.reason})` : ''}`);
  return endedWell(point, final);
}
