// A reporter of vitest: a bar while the cases run, and their results as JSON at the end. It runs in the process of vitest.
import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import type { CaseName, MatrixCase, ShardResult } from './cases.js';

const BAR_CELLS = 30;
/** Without a terminal a line comes this often. */
const LINE_EVERY_MS = 20_000;

export default class ProgressReporter implements Reporter {
  private readonly since = Date.now();
  private saidAt = 0;
  private modules = 0;
  /** Ended and known tests by module. A module is known once a worker has begun it. */
  private readonly counts = new Map<string, { ended: number; all: number }>();
  private readonly cases: MatrixCase[] = [];
  private passed = 0;
  private readonly failed: string[] = [];

  onTestRunStart(modules: readonly unknown[]): void {
    this.modules = modules.length;
  }

  onTestModuleCollected(module: TestModule): void {
    this.counts.set(module.moduleId, { ended: 0, all: [...module.children.allTests()].length });
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    const count = this.counts.get(test.module.moduleId);
    if (count) count.ended++;
    if (state === 'skipped') return;
    const isPassed = state === 'passed';
    const name = (test.meta() as { matrix?: CaseName }).matrix;
    const error = errors?.[0]?.message.split('\n')[0];
    if (name)
      this.cases.push({ ...name, isPassed, ms: Math.round(test.diagnostic()?.duration ?? 0), ...(error && { error }) });
    else if (isPassed) this.passed++;
    else this.failed.push(`${test.fullName}: ${error ?? 'failed'}`);
    if (!isPassed) console.log(`\r\x1b[K✗ ${test.fullName}\n  ${error ?? ''}`);
    this.show();
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      // A module that cannot be loaded has no tests.
      for (const { message } of module.errors())
        this.failed.push(`${module.relativeModuleId}: ${message.split('\n')[0]}`);
    }
    this.saidAt = 0;
    this.show();
    if (process.stdout.isTTY) console.log();
    const result: ShardResult = { cases: this.cases, others: { passed: this.passed, failed: this.failed } };
    const path = process.env.DTX_MATRIX_RESULT;
    if (path) writeFileSync(path, JSON.stringify(result));
  }

  private show(): void {
    const part = [...this.counts.values()].reduce((sum, { ended, all }) => sum + (all === 0 ? 1 : ended / all), 0);
    const cells = Math.round((BAR_CELLS * part) / Math.max(1, this.modules));
    const failures = this.failed.length + this.cases.filter(({ isPassed }) => !isPassed).length;
    const minutes = ((Date.now() - this.since) / 60_000).toFixed(1);
    const line = `[${'#'.repeat(cells).padEnd(BAR_CELLS, '.')}] ${this.cases.length} cases, ${failures} failed, ${minutes} min`;
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`);
    else if (Date.now() - this.saidAt > LINE_EVERY_MS) {
      this.saidAt = Date.now();
      console.log(line);
    }
  }
}
