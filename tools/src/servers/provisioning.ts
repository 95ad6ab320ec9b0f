// How each kind of server is provided. Tried in this order: given by URL, Docker Compose, installed programs, packages.
// Decided per kind, so that databases may be given while broker and Redis are started here.
import { OperatorError } from '../cli/operator-error.js';
import { completeInterrupted, installMissing, lackingForApt } from './apt-packages.js';
import { composeBrokerCtl, composeControl, lackingForCompose, startCompose, stopCompose } from './compose-servers.js';
import { givenUrls, isGiven, lackingUrls, startGiven } from './given-servers.js';
import { lackingPrograms, localBrokerCtl, localControl, loopbackUrls, startLocal, stopLocal } from './local-servers.js';
import type { Kind, Provision, Server, ServerSet, ServerState, ServerUrls } from './server-set.js';

/** Runs `work` under the lock of the set of servers. */
export type Exclusively = <T>(work: () => T | Promise<T>) => Promise<T>;
type Action = (set: ServerSet, server: Server, exclusively: Exclusively) => Promise<void>;
export type ServerActions = Record<'stop' | 'start' | 'kill' | 'pause' | 'resume', Action>;

interface Provisioner {
  /** Resolves once all servers of these kinds answer. */
  start(set: ServerSet, kinds: readonly Kind[]): Promise<void>;
  /** Ends the servers that `start` began. */
  stop(set: ServerSet, kinds: readonly Kind[], options: { wipe?: boolean }): Promise<void>;
  urls(state: ServerState, kind: Kind): Partial<ServerUrls>;
  /** For outage tests. Null if the servers are not run by the commands. */
  readonly control: ServerActions | null;
  /** Runs rabbitmqctl in the broker. Null if the servers are not run by the commands. */
  readonly brokerCtl: ((set: ServerSet, args: readonly string[]) => Promise<void>) | null;
}

export const PROVISIONING: Record<Provision, Provisioner> = {
  url: { start: startGiven, stop: async () => {}, urls: givenUrls, control: null, brokerCtl: null },
  compose: {
    start: startCompose,
    stop: stopCompose,
    urls: loopbackUrls,
    control: composeControl,
    brokerCtl: composeBrokerCtl,
  },
  local: {
    start: startLocal,
    stop: stopLocal,
    urls: loopbackUrls,
    control: localControl,
    brokerCtl: localBrokerCtl,
  },
};

const FORCIBLE = ['url', 'compose', 'local', 'apt'] as const;
type Forced = (typeof FORCIBLE)[number];
type Choice = Partial<Record<Kind, Provision>>;

/** Chooses for each kind, and installs packages if that is the only way. */
export async function chooseProvisions(set: ServerSet, kinds: readonly Kind[]): Promise<Choice> {
  const forced = forcedProvision();
  await completeInterrupted(set.say);
  if (forced) return force(set, kinds, forced);
  const given = kinds.filter(isGiven);
  const open = kinds.filter((kind) => !given.includes(kind));
  return { ...choice(given, 'url'), ...(open.length > 0 ? await find(set, open) : {}) };
}

function forcedProvision(): Forced | null {
  const text = process.env.DTX_INFRA;
  if (!text) return null;
  const known = FORCIBLE.find((one) => one === text);
  if (known) return known;
  throw new OperatorError(`unknown DTX_INFRA "${text}": use one of ${FORCIBLE.join(', ')}, or leave it out`);
}

const choice = (kinds: readonly Kind[], provision: Provision): Choice =>
  Object.fromEntries(kinds.map((kind) => [kind, provision]));

async function force(set: ServerSet, kinds: readonly Kind[], forced: Forced): Promise<Choice> {
  const lacks: Record<Forced, () => string[] | Promise<string[]>> = {
    url: () => lackingUrls(kinds),
    compose: async () => [await lackingForCompose(set, kinds)].filter((lack) => lack !== null),
    local: () => lackingPrograms(set.state, kinds),
    apt: () => lackingByApt(set, kinds),
  };
  const lack = await lacks[forced]();
  if (lack.length > 0)
    throw new OperatorError(`DTX_INFRA=${forced} is asked for, but this is missing: ${lack.join(', ')}`);
  return choice(kinds, forced === 'apt' ? 'local' : forced);
}

/** Installs the programs that local servers need. Returns the programs that are still missing. */
async function lackingByApt(set: ServerSet, kinds: readonly Kind[]): Promise<string[]> {
  if (lackingPrograms(set.state, kinds).length === 0) return [];
  const lack = lackingForApt();
  if (lack) return [lack];
  await installMissing(set, kinds);
  return lackingPrograms(set.state, kinds);
}

/** A kind that has its data locally stays local, whatever else has become possible since. */
async function find(set: ServerSet, kinds: readonly Kind[]): Promise<Choice> {
  const settled = kinds.filter((kind) => set.state.ways[kind] === 'local');
  const open = kinds.filter((kind) => !settled.includes(kind));
  const composeLacks = open.length > 0 ? await lackingForCompose(set, open) : null;
  const byCompose = composeLacks ? [] : open;
  if (composeLacks) set.say(`not with Docker Compose: it lacks ${composeLacks}`);
  const local = kinds.filter((kind) => !byCompose.includes(kind));
  const programLacks = lackingPrograms(set.state, local);
  const aptLacks = programLacks.length > 0 ? await lackingByApt(set, local) : [];
  if (aptLacks.length > 0) {
    throw new OperatorError(
      `cannot provide ${local.join(', ')} here. Do one of these: set ${lackingUrls(local).join(', ')}; ` +
        `start a Docker engine with Compose (lacks ${composeLacks ?? 'nothing, but the data is not there'}); ` +
        `install ${programLacks.join(', ')}; run as root on Debian or Ubuntu (lacks ${aptLacks.join(', ')})`,
    );
  }
  return { ...choice(byCompose, 'compose'), ...choice(local, 'local') };
}
