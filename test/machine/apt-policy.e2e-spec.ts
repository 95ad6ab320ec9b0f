import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runScript } from '../../tools/src/servers/apt-packages.js';
import { HEAL, INSTALL } from '../../tools/src/servers/apt-script.js';
import { until } from '../fixtures/until.js';

/** The machine as the script sees it: a policy file, a folder to lock, and programs that stand in for the real ones. */
let machine: string;
let policy: string;
const at = (name: string) => join(machine, name);

beforeEach(() => {
  machine = mkdtempSync(join(tmpdir(), 'machine-'));
  policy = at('sbin/policy-rc.d');
  for (const folder of ['sbin', 'dpkg', 'bin']) mkdirSync(at(folder));
  program('systemctl', `echo "systemctl $*" >>'${at('said')}'`);
  program('dpkg', `echo "dpkg $*" >>'${at('said')}'`);
});
afterEach(() => rmSync(machine, { recursive: true }));

function program(name: string, does: string): void {
  writeFileSync(at(`bin/${name}`), `#!/bin/sh\n${does}\n`, { mode: 0o755 });
}

/** apt-get asks the policy, as packages do, and then does something. */
const aptGet = (does = 'exit 0') =>
  program('apt-get', `'${policy}' redis start; echo "policy said $?" >>'${at('said')}'\n${does}`);

const install = (script = INSTALL) =>
  runScript(script, ['redis-server'], {
    policy,
    lock: at('dpkg'),
    mark: at('under-way'),
    log: at('log'),
    env: { PATH: `${at('bin')}:${process.env.PATH}` },
  });

/** The answer to a package that asks whether it may start its service. A missing policy allows everything. */
const answer = () => (existsSync(policy) ? spawnSync(policy, ['redis', 'start']).status : 0);
const said = () => (existsSync(at('said')) ? readFileSync(at('said'), 'utf8').trimEnd().split('\n') : []);
const left = () => readdirSync(at('sbin'));
const KILL_THE_SHELL = 'kill -9 $PPID';

const OWN = '#!/bin/sh\n# the machine has its own mind\nexit 104\n';
const ownPolicy = () => writeFileSync(policy, OWN, { mode: 0o750 });
function expectOwnPolicy(): void {
  expect(left()).toEqual(['policy-rc.d']);
  expect(readFileSync(policy, 'utf8')).toBe(OWN);
  expect(statSync(policy).mode & 0o777).toBe(0o750);
}

test('no service is started while packages are installed, and nothing is left of that', async () => {
  aptGet();
  expect(await install()).toBe(0);
  expect(said()).toEqual(['policy said 101', 'systemctl disable redis-server']);
  expect(left()).toEqual([]);
  expect(existsSync(at('under-way'))).toBe(false);
});

test('a policy of the machine itself is back afterwards, with its mode, also when the installation fails', async () => {
  ownPolicy();
  aptGet('exit 100');
  expect(await install()).toBe(100);
  expect(said()[0]).toBe('policy said 101');
  expectOwnPolicy();
});

test.each(['without', 'with'])(
  'an installation that is killed forbids nothing afterwards, %s a policy of the machine',
  async (own) => {
    if (own === 'with') ownPolicy();
    aptGet(KILL_THE_SHELL);
    expect(await install()).toBe(null);
    await until('its last process is gone', () => answer() !== 101);
    expect(answer()).toBe(own === 'with' ? 104 : 0);
    if (own === 'with') expectOwnPolicy();
    else expect(left()).toEqual([]);
  },
);

test.each(['without', 'with'])(
  'what a killed installation has left is gone after the next one, %s a policy of the machine',
  async (own) => {
    if (own === 'with') ownPolicy();
    aptGet(KILL_THE_SHELL);
    await install();
    await install();
    aptGet();
    expect(await install()).toBe(0);
    expect(said()).toContain('dpkg --configure -a');
    if (own === 'with') expectOwnPolicy();
    else expect(left()).toEqual([]);
    expect(existsSync(at('under-way'))).toBe(false);
  },
);

test('a killed installation is healed at once when its caller lives', async () => {
  ownPolicy();
  aptGet(KILL_THE_SHELL);
  await install();
  await until(
    'it is healed',
    async () => (await install(HEAL)) === 0 && !left().includes('policy-rc.d.before-nest-dtx'),
  );
  expectOwnPolicy();
});

test('services stay forbidden while packages are being installed without their killed shell, and others wait', async () => {
  ownPolicy();
  const gate = at('gate');
  aptGet(`${KILL_THE_SHELL}; while [ ! -e '${gate}' ]; do sleep 0.05; done`);
  expect(await install()).toBe(null);
  expect(answer()).toBe(101);
  aptGet();
  const next = install();
  const isLocked = () => spawnSync('flock', ['--nonblock', at('dpkg'), 'true']).status !== 0;
  await until('the next one has its turn', isLocked);
  expect(said()).toEqual(['policy said 101']);
  writeFileSync(gate, '');
  expect(await next).toBe(0);
  expectOwnPolicy();
});
