// A crash, pause or error at a failpoint, as by `npm run break`, inside the process of the demo.
import { withLock } from '../../process/command-lock.js';
import { openDatabases } from '../../sandbox/database-reader.js';
import { AppEventQueue } from '../break/app-event-queue.js';
import { interruptible } from '../break/interruptible-control.js';
import type { Failpoint } from '../break/known-failpoints.js';
import { Watch } from '../break/recovery-watch.js';
import { type Mode, runBreak } from '../break/run.js';
import type { Actions, ControlClient } from '../demo/control-socket.js';
import type { Happening } from './happenings.js';
import type { Job } from './job-runner.js';
import type { LabTarget, Processes } from './target.js';

const LOCK_BOUND_MS = 1_000;

export interface BreakJob {
  readonly point: Failpoint;
  readonly mode: Mode;
  readonly job: Job;
  /** Gets every change of an app while the break runs. */
  readonly events: AppEventQueue;
  readonly record: (happening: Happening) => void;
}

/** Returns whether it healed. */
export async function breakPoint(
  target: LabTarget,
  processes: Processes,
  asked: BreakJob,
): Promise<{ healed: boolean }> {
  const { job, point } = asked;
  const run = () => breakLocked(target, processes, asked);
  const healed = await withLock(processes.breakLock, { say: job.say, what: 'the demo', boundMs: LOCK_BOUND_MS }, run);
  job.say(healed ? `healed: ${point.name}` : 'NOT HEALED in time: the lanes show where it stands');
  return { healed };
}

async function breakLocked(target: LabTarget, processes: Processes, asked: BreakJob): Promise<boolean> {
  const { point, mode, job, events, record } = asked;
  const { failpointLog } = processes;
  const control = interruptible(localControl(recorded(processes.actions, record)), new AbortController().signal);
  const databases = await openDatabases(target.sandbox);
  try {
    return await runBreak({
      point,
      mode,
      control,
      status: await control.ask('status'),
      events,
      watch: new Watch(databases, job.say),
      failpointLog,
      say: job.say,
      onGid: job.found,
      onHit: ({ pid, at }) => record({ kind: 'hit', app: point.app, pid, at, how: `${mode} at ${point.name}` }),
    });
  } catch (error) {
    await control.setRight(point.app); // an armed app must not stay behind
    throw error;
  } finally {
    await databases.close();
  }
}

/** Requests go straight to the demo, which is this process. */
const localControl = (actions: Actions): ControlClient => ({
  ask: (action, request = {}) => (actions[action] as (given: unknown) => Promise<never>)(request),
  close: () => {},
});

/** The supervisor tells of first instances only. */
function recorded(actions: Actions, record: (happening: Happening) => void): Actions {
  let pid = 0;
  return {
    ...actions,
    startSecond: async (request) => {
      const second = await actions.startSecond(request);
      pid = second.pid;
      record({ kind: 'second', app: request.app, pid, at: Date.now() });
      return second;
    },
    stopSecond: async (request) => {
      await actions.stopSecond(request);
      if (pid !== 0) record({ kind: 'second-stopped', app: request.app, pid, at: Date.now() });
      pid = 0;
    },
  };
}
