// Runs npm with a clean view of the caller's environment; shows its output only when it failed.
import { spawn } from 'node:child_process';
import { secondsSince, withProgress } from '../command/deadline.mjs';
import { OperatorError } from '../command/entry.mjs';

const LAST_LINES = 30;
const QUIET_UP_TO_S = 5;

/**
 * @param {string[]} args
 * @param {{ root: string, say: (line: string) => void, what: string, quiet?: boolean, signal?: AbortSignal }} options
 */
export async function runNpm(args, { root, say, what, quiet = false, signal }) {
  const since = Date.now();
  if (!quiet) say(`${what} ...`);
  const { code, output } = await withProgress(() => npm(args, root, signal), { say, what });
  if (code !== 0) {
    const tail = output.trimEnd().split('\n').slice(-LAST_LINES).join('\n');
    throw new OperatorError(
      `${tail}\n${what} failed: \`npm ${args.join(' ')}\` ended with ${code}; its last lines are above`,
    );
  }
  if (!quiet || Number(secondsSince(since)) > QUIET_UP_TO_S) say(`${what}: done in ${secondsSince(since)} s`);
}

function npm(args, cwd, signal) {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', args, { cwd, env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'], signal });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-100_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => {
      const why =
        error.name === 'AbortError'
          ? 'interrupted'
          : `npm could not be started (${error.message}): install npm beside Node.js`;
      reject(new OperatorError(why));
    });
    child.on('close', (code, endedBy) => resolve({ code: code ?? endedBy, output }));
  });
}

/** NODE_ENV=production, and what an outer `npm run` exports, would make npm leave half of the packages out. */
function cleanEnvironment() {
  const isUnwanted = (key) =>
    /^(NODE_ENV|NODE_OPTIONS|npm_config_(omit|only|production|include|workspaces?|global|prefix))$/i.test(key);
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !isUnwanted(key)));
}
