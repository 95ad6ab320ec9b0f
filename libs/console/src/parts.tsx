import { type ReactNode, useId } from 'react';
import { useWords } from './i18n';
import { isUnanswered, problemText } from './problem-text';
import { stateClass } from './states';

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } as const;

/** A time in the zone of the viewer, with UTC on hover and for screen readers on demand. */
export function Time({ at }: { at: string | null }) {
  if (!at) return <span className="quiet">–</span>;
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  const text = isToday
    ? date.toLocaleTimeString(undefined, { ...CLOCK, fractionalSecondDigits: 3 })
    : date.toLocaleString(undefined, { ...CLOCK, year: 'numeric', month: '2-digit', day: '2-digit' });
  return (
    <time dateTime={at} title={`${at} UTC`}>
      {text}
    </time>
  );
}

export function State({ state }: { state: string }) {
  return <span className={`state ${stateClass(state)}`}>{state}</span>;
}

/** A duration as one number and unit. */
export function duration(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}

export function Problem({ error }: { error: unknown }) {
  const words = useWords();
  return (
    <p role="alert" className="bad">
      {problemText(error, words)} {isUnanswered(error) && words.stale}
    </p>
  );
}

export function Field({ label, children }: { label: string; children: (id: string) => ReactNode }) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children(id)}
    </div>
  );
}
