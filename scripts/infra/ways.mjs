// How each kind of server is to be had here, tried in this order: given by URL, Docker Compose, installed programs,
// packages. Decided per kind, so that databases may be given while broker and Redis are started here.
import { completeInterrupted, installMissing, lackingForApt } from './apt-packages.mjs';
import { composeControl, composeUrls, lackingForCompose, startCompose, stopCompose } from './compose-way.mjs';
import { InfraError } from './place.mjs';
import { lackingPrograms, loopbackUrls, privateControl, startPrivate, stopPrivate } from './private-way.mjs';
import { givenUrls, isGiven, lackingUrls, startGiven } from './url-way.mjs';

/** start makes the kinds ready; stop ends what start began; urls says where they are; control is for outage tests. */
export const WAYS = {
  url: { start: startGiven, stop: async () => {}, urls: givenUrls, control: null },
  compose: { start: startCompose, stop: stopCompose, urls: composeUrls, control: composeControl },
  local: { start: startPrivate, stop: stopPrivate, urls: loopbackUrls, control: privateControl },
};

const FORCIBLE = ['url', 'compose', 'local', 'apt'];

/** { databases: 'url' | 'compose' | 'local', ... } for the kinds asked for. Installs packages when that is the way. */
export async function chooseWays(context, kinds) {
  const forced = process.env.DTX_INFRA || null;
  if (forced && !FORCIBLE.includes(forced)) {
    throw new InfraError(
      `DTX_INFRA=${forced} is no way to get servers: use one of ${FORCIBLE.join(', ')}, or leave it out`,
    );
  }
  await completeInterrupted(context.say);
  if (forced) return force(context, kinds, forced);
  const ways = Object.fromEntries(kinds.filter(isGiven).map((kind) => [kind, 'url']));
  const open = kinds.filter((kind) => !ways[kind]);
  return { ...ways, ...(open.length > 0 ? await find(context, open) : {}) };
}

async function force(context, kinds, way) {
  const lacks = {
    url: () => lackingUrls(kinds),
    compose: async () => [await lackingForCompose(context, kinds)].filter(Boolean),
    local: () => lackingPrograms(context.state, kinds),
    apt: () => lackingByApt(context, kinds),
  };
  const lack = await lacks[way]();
  if (lack.length > 0) throw new InfraError(`DTX_INFRA=${way} is asked for, but this is missing: ${lack.join(', ')}`);
  return Object.fromEntries(kinds.map((kind) => [kind, way === 'apt' ? 'local' : way]));
}

/** The packages make the programs of the local way; empty when these are there at the end. */
async function lackingByApt(context, kinds) {
  if (lackingPrograms(context.state, kinds).length === 0) return [];
  const lack = lackingForApt();
  if (lack) return [lack];
  await installMissing(context, kinds);
  return lackingPrograms(context.state, kinds);
}

/** Where a kind has its data already it stays, whatever else has become possible since. */
async function find(context, kinds) {
  const settled = kinds.filter((kind) => context.state.ways[kind] === 'local');
  const open = kinds.filter((kind) => !settled.includes(kind));
  const composeLacks = open.length > 0 ? await lackingForCompose(context, open) : null;
  const byCompose = composeLacks ? [] : open;
  if (composeLacks) context.say(`not with Docker Compose: it lacks ${composeLacks}`);
  const local = kinds.filter((kind) => !byCompose.includes(kind));
  const programLacks = lackingPrograms(context.state, local);
  const aptLacks = programLacks.length > 0 ? await lackingByApt(context, local) : [];
  if (aptLacks.length > 0) {
    throw new InfraError(
      `no way to get ${local.join(', ')} here. Do one of these: set ${lackingUrls(local).join(', ')}; ` +
        `start a Docker engine with Compose (lacks ${composeLacks ?? 'nothing, but the data is not there'}); ` +
        `install ${programLacks.join(', ')}; run as root on Debian or Ubuntu (lacks ${aptLacks.join(', ')})`,
    );
  }
  return Object.fromEntries(kinds.map((kind) => [kind, byCompose.includes(kind) ? 'compose' : 'local']));
}
