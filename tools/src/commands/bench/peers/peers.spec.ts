import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Interrupted, OperatorError } from '../../../cli/operator-error.js';
import { until } from '../../../cli/waits-and-progress.js';
import { ROOT } from '../../../infra-files.js';
import { startOf } from '../../../process/detached-processes.js';
import { PEERS, PEERS_FULL, PEERS_QUICK, peersPlan, routeOf } from '../cases.js';
import type { Figures } from '../summary.js';
import { peerRows, withTables } from '../written-report.js';
import { PEERS_DIR, peersNamed, preparePeers, versionsOfPeers } from './peer-package.js';
import { runToEnd } from './run-to-end.js';

const NPM_BOUND_MS = 60_000;

describe('the plan of the peers', () => {
  it.each([PEERS_QUICK, PEERS_FULL])(
    'plays each peer beside its scheme and the naive shop, with one load: %o',
    (sizes) => {
      const { cases, rounds } = peersPlan(PEERS, sizes);
      const variants = ['naive', 'local-message', 'nestjs-outbox', 'tcc', 'restate-saga'];
      expect(cases.map(({ variant }) => variant)).toEqual(variants);
      expect(new Set(cases.map(({ variant, ...load }) => JSON.stringify(load))).size).toBe(1);
      expect(rounds).toBeGreaterThan(1);
      for (const { variant } of cases) expect(routeOf(variant).path).toMatch(/^\/\w/);
    },
  );

  it('of one peer leaves the other out', () => {
    const { cases } = peersPlan(peersNamed(['restate-saga']), PEERS_QUICK);
    expect(cases.map(({ variant }) => variant)).toEqual(['naive', 'tcc', 'restate-saga']);
  });

  it('refuses an unknown peer with the known ones', () => {
    expect(() => peersNamed(['nestjs-outbox', 'dtm'])).toThrow(/unknown peer "dtm".*nestjs-outbox, restate-saga/);
  });
});

describe('the package of the peers', () => {
  it('names exact versions, the same as its lock file, which has no download addresses', () => {
    const { dependencies } = JSON.parse(readFileSync(join(PEERS_DIR, 'package.json'), 'utf8'));
    const lock = readFileSync(join(PEERS_DIR, 'package-lock.json'), 'utf8');
    const { packages } = JSON.parse(lock);
    for (const [name, version] of Object.entries(dependencies))
      expect(packages[`node_modules/${name}`].version).toBe(version);
    expect(lock).not.toMatch(/"resolved"|https?:\/\/[^"]*registry/);
    for (const text of Object.values(versionsOfPeers()))
      expect(text).toMatch(/^(server )?\d+\.\d+\.\d+, \S+ \d+\.\d+\.\d+$/);
    for (const peer of PEERS) expect(existsSync(join(PEERS_DIR, peer, 'main.ts'))).toBe(true);
  });

  it('that cannot be installed ends with what to do', { timeout: NPM_BOUND_MS }, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'dtx-peers-'));
    const name = 'nest-dtx-no-such-package';
    const packages = { '': { dependencies: { [name]: '1.0.0' } }, [`node_modules/${name}`]: { version: '1.0.0' } };
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'x', dependencies: { [name]: '1.0.0' } }));
    writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ name: 'x', lockfileVersion: 3, packages }));
    writeFileSync(join(dir, '.npmrc'), 'registry=http://127.0.0.1:9/\nfetch-retry-mintimeout=10\n');
    const said: string[] = [];
    const { signal } = new AbortController();
    const failed = preparePeers(PEERS, { say: (line) => said.push(line), signal, dir }).finally(() =>
      rmSync(dir, { recursive: true }),
    );
    const error = await failed.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OperatorError);
    expect((error as Error).message).toMatch(/ECONNREFUSED[\s\S]*npm registry[\s\S]*leave --peers out/);
    expect(said[0]).toMatch(/installing the peers into bench\/peers/);
  });
});

describe('a program that is waited for', () => {
  const options = { cwd: tmpdir(), boundMs: 30_000 };

  it('ends with all that it has started after an interruption', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'dtx-peers-'));
    const file = join(dir, 'pid');
    const abort = new AbortController();
    const running = runToEnd('sh', ['-c', `sleep 60 & echo $! > ${file}; wait`], { ...options, signal: abort.signal });
    const pidIn = async () => (existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0);
    const pid = await until(async () => (await pidIn()) || null, { boundMs: 10_000 });
    abort.abort();
    await expect(running).rejects.toBeInstanceOf(Interrupted);
    expect(await until(async () => startOf(pid!) === null, { boundMs: 10_000 })).toBe(true);
    rmSync(dir, { recursive: true });
  });

  it('ends at its bound, and its last lines are shown', async () => {
    const { signal } = new AbortController();
    const failed = await runToEnd('sh', ['-c', 'echo the last line; sleep 60'], { ...options, boundMs: 1_000, signal });
    expect(failed).toMatch(/the last line[\s\S]*SIGTERM/);
    expect(await runToEnd('sh', ['-c', 'exit 3'], { ...options, signal })).toMatch(/exit code 3/);
    expect(await runToEnd('true', [], { ...options, signal })).toBeNull();
    expect(await runToEnd('no-such-program', [], { ...options, signal })).toMatch(/ENOENT/);
  });
});

describe('the table of the peers', () => {
  const times = { p50: 1, p95: 2, p99: 3 };
  const figuresOf = (variant: Figures['case']['variant']): Figures => ({
    case: { variant, concurrency: 32, skus: 'many', notify: false, purchases: 400 },
    name: variant,
    settledPerSecond: 100,
    againstNaive: variant === 'naive' ? null : 0.5,
    answerMs: times,
    settledMs: times,
    perPurchase: {
      statements: 7,
      roundTrips: null,
      commits: 4,
      fsyncs: 2,
      messages: null,
      cpuMs: { apps: 1, databases: 2, broker: null },
    },
    cpuAgainstNaive: null,
    rssMiB: null,
  });
  const rows = peerRows({ figures: [figuresOf('naive'), figuresOf('nestjs-outbox')], versions: versionsOfPeers() });

  it('has the versions of the peers, and a dash for a missing figure', () => {
    expect(rows.map(([variant, version]) => [variant, version])).toEqual([
      ['naive', '-'],
      ['nestjs-outbox', versionsOfPeers()['nestjs-outbox']],
    ]);
    expect(rows[1]!.slice(2)).toEqual([
      '100',
      '0.50',
      '1 / 2 / 3',
      '1 / 2 / 3',
      '-',
      '7.0',
      '4.0',
      '-',
      '1.0 + 2.0 + -',
    ]);
  });

  it.each(['docs/bench.md', 'docs/bench.zh-CN.md'])('stands in %s with a cell under each heading', (page) => {
    const text = withTables(readFileSync(join(ROOT, page), 'utf8'), { peers: rows }, page);
    const table = /<!-- bench:peers -->\n\n([\s\S]*?)\n\n<!-- \/bench:peers -->/.exec(text)?.[1]?.split('\n') ?? [];
    const cells = table.map((line) => line.split(' | ').length);
    expect(cells).toEqual([cells[0], cells[0], rows[0]!.length, rows[1]!.length]);
    expect(cells[0]).toBe(rows[0]!.length);
  });
});
