import { describe, expect, it } from 'vitest';
import { JobRunner } from './job-runner.js';

/** Work that ends when the test says so. */
function heldWork() {
  let end: (failure?: Error) => void = () => {};
  const ended = new Promise<string>((resolve, reject) => {
    end = (failure) => (failure ? reject(failure) : resolve('result'));
  });
  return { ended, end };
}

describe('the jobs of the lab', () => {
  it('run one at a time', async () => {
    const runner = new JobRunner();
    const { ended, end } = heldWork();
    runner.start('break', 'crash xa.decided', () => ended);
    expect(() => runner.start('audit', '', async () => {})).toThrow(
      expect.objectContaining({ status: 409, message: 'break crash xa.decided still runs: wait until it has ended' }),
    );
    end();
    await ended;
    expect(runner.latest).toMatchObject({ state: 'done', result: 'result' });
    expect(runner.start('audit', '', async () => {})).toMatchObject({ id: 2, state: 'running' });
  });

  it('keep the reason of a failure, and the next one may start', async () => {
    const runner = new JobRunner();
    const { ended, end } = heldWork();
    runner.start('audit', '', () => ended);
    end(new Error('no database'));
    await ended.catch(() => {});
    await Promise.resolve();
    expect(runner.latest).toMatchObject({ state: 'failed', problem: 'no database' });
    expect(runner.start('audit', '', async () => {}).state).toBe('running');
  });

  it('show lines, progress and the transaction, and keep the last 200 lines', () => {
    const runner = new JobRunner();
    runner.start('scenario', '', async (job) => {
      for (let n = 0; n < 300; n++) job.say(`line ${n}`);
      job.progress(3, 20);
      job.found('the-gid');
    });
    expect(runner.latest).toMatchObject({ gid: 'the-gid', progress: { done: 3, total: 20 } });
    expect(runner.latest?.lines).toHaveLength(200);
    expect(runner.latest?.lines.at(-1)).toBe('line 299');
  });
});
