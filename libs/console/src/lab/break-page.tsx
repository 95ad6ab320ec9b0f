import { useContext, useEffect, useRef, useState } from 'react';
import { LanguageContext } from '../i18n';
import { Diagram } from './diagram';
import { Followed, JobState, Record } from './job-panel';
import { useSchemes, useStart, useStatus } from './lab-session';
import type { Job, LabStatus, Point } from './lab-types';
import { useLabWords } from './lab-words';
import { aboutScheme } from './protocols';
import { inChinese } from './zh/point-texts';

const MODES = ['crash', 'pause', 'error'] as const;

export function BreakPage() {
  const words = useLabWords();
  const language = useContext(LanguageContext);
  const { data: status } = useStatus();
  const { start, problem } = useStart();
  const { schemes } = useSchemes();
  const [scheme, setScheme] = useState('local-message');
  const [point, setPoint] = useState<Point | null>(null);
  const card = useRef<HTMLElement>(null);
  // On a phone the buttons are below the diagram. Each click is a new object, so a second one on the same point scrolls too.
  useEffect(() => {
    if (point) card.current?.scrollIntoView({ block: 'nearest' });
  }, [point]);
  const job = status?.job;
  const isBusy = !status?.isServing || job?.state === 'running';
  const points = schemes.find((one) => one.scheme === scheme)?.points ?? [];
  return (
    <>
      <h2>{words.break}</h2>
      {status?.whyNoBreaks && (
        <p role="note" className="busy">
          {status.whyNoBreaks}
        </p>
      )}
      <p className="tabs">
        {schemes.map((one) => (
          <button
            key={one.scheme}
            type="button"
            aria-pressed={one.scheme === scheme}
            onClick={() => {
              setScheme(one.scheme);
              setPoint(null);
            }}
          >
            {one.scheme}
          </button>
        ))}
      </p>
      <p className="quiet">{aboutScheme(scheme, language)}</p>
      <div className="break">
        <Diagram scheme={scheme} points={points} chosen={point?.name ?? null} choose={(one) => setPoint({ ...one })} />
        <section ref={card} className="card" aria-label={words.point}>
          {point ? <Chosen point={point} /> : <p>{words.choosePoint}</p>}
          {point && !status?.whyNoBreaks && (
            <p className="actions">
              {MODES.map((mode) => (
                <button
                  key={mode}
                  type="button"
                  className={mode === 'crash' ? 'main' : undefined}
                  disabled={isBusy}
                  title={words[`${mode}Means`]}
                  onClick={() => start('/breaks', { point: point.name, mode })}
                >
                  {words[mode]}
                </button>
              ))}
            </p>
          )}
          {job?.kind === 'break' && <Outcome job={job} />}
          {MODES.map((mode) => (
            <small key={mode} className="quiet mode">
              {words[`${mode}Means`]}
            </small>
          ))}
        </section>
      </div>
      {problem && (
        <p role="alert" className="bad">
          {problem}
        </p>
      )}
      {status && job?.kind === 'break' && (
        <>
          <Record lines={job.lines} />
          <Followed job={job} happenings={status.happenings} />
        </>
      )}
      <Parking status={status} isBusy={isBusy} start={start} />
    </>
  );
}

function Chosen({ point: given }: { point: Point }) {
  const words = useLabWords();
  const point = useContext(LanguageContext) === 'zh' ? inChinese(given) : given;
  return (
    <>
      <h3>{point.name}</h3>
      {point.because && <p className="quiet">{point.because}</p>}
      <dl>
        <dt>{words.onDisk}</dt>
        <dd>{point.disk}</dd>
        <dt>{words.finisher}</dt>
        <dd>{point.finisher}</dd>
      </dl>
    </>
  );
}

/** Beside the buttons, where the eyes are after the click. The record and the lanes are below. */
function Outcome({ job }: { job: Job }) {
  const words = useLabWords();
  const result = job.result as { healed: boolean } | null;
  return (
    <>
      <JobState job={job} />
      {result && (
        <p role="status">
          <b className={result.healed ? 'good' : 'bad'}>{result.healed ? words.healed : words.notHealed}</b>
        </p>
      )}
    </>
  );
}

interface ParkingProps {
  status: LabStatus | undefined;
  isBusy: boolean;
  start: (path: string) => void;
}

function Parking({ status, isBusy, start }: ParkingProps) {
  const words = useLabWords();
  const job = status?.job;
  return (
    <section className="card" aria-label={words.parkRow}>
      <h3>{words.parkedRows}</h3>
      <p>{words.parkMeans}</p>
      <p className="actions">
        <button type="button" disabled={isBusy} onClick={() => start('/parkings')}>
          {words.parkRow}
        </button>
      </p>
      {job?.kind === 'park' && (
        <>
          <JobState job={job} />
          {job.state === 'done' && (
            <p>
              <a href="#/alerts">{words.toAlerts}</a>
            </p>
          )}
        </>
      )}
    </section>
  );
}
