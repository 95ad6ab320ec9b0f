import { useEffect, useRef } from 'react';
import { SwimLanes } from '../pages/swim-lanes';
import { TransactionView } from '../pages/transaction';
import { stepsOfBreak } from './happening-steps';
import type { Happening, Job } from './lab-types';
import { useLabWords } from './lab-words';

const LIVE_MS = 600;
const CALM_MS = 2_000;

/** @param title stands before the subject of the job */
export function JobState({ job, title }: { job: Job; title?: string }) {
  const words = useLabWords();
  const { state, problem, progress } = job;
  return (
    <>
      <p role="status" className={state === 'failed' ? 'bad' : state === 'done' ? 'good' : 'busy'}>
        {title && `${title}: `}
        {job.subject} {words[state]}
        {problem && `: ${problem}`}
      </p>
      {progress && state !== 'failed' && (
        <label className="progress">
          {words.progress}: {progress.done} / {progress.total}
          <progress value={progress.done} max={progress.total} />
        </label>
      )}
    </>
  );
}

/** The lines of `npm run break` and its like. The newest one is in sight. */
export function Record({ lines }: { lines: string[] }) {
  const words = useLabWords();
  const end = useRef<HTMLPreElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new line moves the end
  useEffect(() => {
    if (end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [lines.length]);
  if (lines.length === 0) return null;
  return (
    <details open>
      <summary>{words.record}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by the keyboard */}
      <pre ref={end} tabIndex={0} className="record">
        {lines.join('\n')}
      </pre>
    </details>
  );
}

/** The transaction of a job, followed while it runs and after it: receipts and notifications come later. */
export function Followed({ job, happenings }: { job: Job; happenings: readonly Happening[] }) {
  const words = useLabWords();
  const more = job.kind === 'break' ? stepsOfBreak(job.subject, happenings, words) : [];
  if (!job.gid) return more.length > 0 && <SwimLanes traces={[]} more={more} />;
  return (
    <section aria-label={job.gid}>
      <h3>
        <a className="id" href={`#/transaction/${encodeURIComponent(job.gid)}`}>
          {job.gid}
        </a>
      </h3>
      <TransactionView key={job.gid} gid={job.gid} everyMs={job.state === 'running' ? LIVE_MS : CALM_MS} more={more} />
    </section>
  );
}
