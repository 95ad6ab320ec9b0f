// Runs a command of the tools package: node scripts/run.mjs <command> [arguments]. Without a command it only prepares.
// The only script that starts without dependencies: it installs and builds first if anything is missing or stale.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const LOCK = join(ROOT, '.infra', 'prepare.lock');
const LOCK_BOUND_MS = 900_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const command = process.argv.splice(2, 1)[0] ?? '';
const BUILT = join(ROOT, 'tools', 'dist', 'commands');
const main = join(BUILT, `${command}.js`);
const say = process.argv.includes('--json') ? console.error : console.log;
const interrupt = new AbortController();

/** A failure that the operator can act on, shown without a stack. */
class Refusal extends Error {}

/** Null if the file is absent, or truncated by a killed process. */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** Tells a process from a later one with the same pid, in the way of tools/src/process/detached-processes.ts. */
function startOf(pid) {
  try {
    if (existsSync('/proc/self/stat')) {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ');
      return fields[0] === 'Z' ? null : fields[19];
    }
    const line = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return line.slice(line.indexOf(' ')).trim() || null;
  } catch {
    return null;
  }
}

const isAlive = (owner) => Boolean(owner) && owner.start !== null && startOf(owner.pid) === owner.start;

/** Two commands at once take turns, because both would write the same folders. */
async function withLock(work) {
  mkdirSync(dirname(LOCK), { recursive: true, mode: 0o700 });
  const beside = `${LOCK}.${process.pid}`;
  writeFileSync(beside, JSON.stringify({ pid: process.pid, start: startOf(process.pid) }), { mode: 0o600 });
  try {
    for (let told = false, end = Date.now() + LOCK_BOUND_MS; !tryLink(beside); await sleep(100)) {
      interrupt.signal.throwIfAborted();
      const owner = readJson(LOCK);
      if (owner && !isAlive(owner)) breakLock(owner);
      else if (owner && !told) say(`waiting for process ${owner.pid}, which installs or builds`);
      told ||= owner !== null;
      if (Date.now() > end) throw new Refusal(`${LOCK} is still held: end process ${owner?.pid}, then try again`);
    }
    return await work().finally(() => rmSync(LOCK, { force: true }));
  } finally {
    rmSync(beside, { force: true });
  }
}

/** Renamed before it is removed: two processes that break the same stale lock must not remove a new one. */
function breakLock(stale) {
  const aside = `${LOCK}.${process.pid}.stale`;
  try {
    renameSync(LOCK, aside);
    if (readJson(aside)?.pid !== stale.pid) linkSync(aside, LOCK);
  } catch {} // another process was faster
  rmSync(aside, { force: true });
}

function tryLink(beside) {
  try {
    linkSync(beside, LOCK);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Compares node_modules with package-lock.json by content, because a checkout makes every file look new. */
function missingPackage() {
  const installed = readJson(join(ROOT, 'node_modules', '.package-lock.json'))?.packages;
  if (!installed) return 'node_modules does not exist or is incomplete';
  for (const [path, wanted] of Object.entries(readJson(join(ROOT, 'package-lock.json'))?.packages ?? {})) {
    if (!path.includes('node_modules/')) continue;
    const found = installed[path];
    if (!found && (wanted.optional || wanted.devOptional)) continue; // it may be for another platform
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    if (!found || !existsSync(join(ROOT, path))) return `${name} is missing`;
    if (found.version !== wanted.version) return `${name} is ${found.version}, package-lock.json has ${wanted.version}`;
  }
  return null;
}

/** Runs npm without the settings of the caller that would make it leave packages out, and shows its output on failure. */
async function npm(args, what, isQuiet) {
  const since = Date.now();
  const seconds = () => Math.round((Date.now() - since) / 1000);
  const unwanted = /^(NODE_ENV|NODE_OPTIONS|npm_config_(omit|only|production|include|workspaces?|global|prefix))$/i;
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !unwanted.test(key)));
  if (!isQuiet) say(`${what} ...`);
  const timer = setInterval(() => say(`${what}: still running after ${seconds()} s`), 10_000);
  let output = '';
  const code = await new Promise((resolve, reject) => {
    const options = { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'], signal: interrupt.signal };
    const child = spawn('npm', args, options)
      .on('error', (error) =>
        reject(new Refusal(`npm cannot be started: ${error.message}; install npm beside Node.js`)),
      )
      .on('close', (exit, signal) => resolve(exit ?? signal));
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => (output = (output + chunk).slice(-100_000)));
  }).finally(() => clearInterval(timer));
  if (code !== 0) {
    const tail = output.trimEnd().split('\n').slice(-30).join('\n');
    throw new Refusal(
      `${tail}\n${what} failed: \`npm ${args.join(' ')}\` ended with ${code}; see its last lines above`,
    );
  }
  if (!isQuiet || seconds() > 5) say(`${what}: done in ${((Date.now() - since) / 1000).toFixed(1)} s`);
}

function refuseBadStart() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    throw new Refusal(`Node.js 20.19 or newer is needed, this is ${process.versions.node}: install a newer version`);
  const commands = readdirSync(join(ROOT, 'tools', 'src', 'commands')).filter((name) => name.endsWith('.ts'));
  if (command !== '' && !commands.includes(`${command}.ts`))
    throw new Refusal(`unknown command "${command}"; known: ${commands.map((name) => name.slice(0, -3)).join(', ')}`);
}

async function prepare() {
  const missing = missingPackage();
  const install = ['ci', '--include=dev', '--no-audit', '--no-fund'];
  if (missing) await npm(install, `installing dependencies (${missing})`, false);
  // Apps of a running demo are restarted from this build: it must not change while they run.
  const isServing = existsSync(BUILT) && isAlive(readJson(join(ROOT, '.infra', 'demo', 'session.json')));
  if (!isServing) await npm(['run', '--silent', 'build'], 'building', existsSync(BUILT));
  else if (command === 'test') say('a demo runs from this build: testing the build as it is');
}

/** True if the command may start. */
async function isPrepared() {
  const stop = (name) => {
    if (!interrupt.signal.aborted) say(`\n${name}: stopping ...`);
    interrupt.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    refuseBadStart();
    await withLock(prepare);
    return true;
  } catch (error) {
    process.exitCode = interrupt.signal.aborted ? 130 : 1;
    if (!interrupt.signal.aborted) console.error(error instanceof Refusal ? error.message : error);
    if (command === 'test') say('0 passed, 1 failed'); // the last line of a test run is its summary
    return false;
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}

if ((await isPrepared()) && command !== '') {
  process.setSourceMapsEnabled(true);
  await import(pathToFileURL(main).href);
}
