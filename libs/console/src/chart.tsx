import { useWords } from './i18n';
import { lastHour, MINUTES } from './last-hour';
import { duration } from './parts';
import type { Minute } from './types';

const WIDTH = 240;
const HEIGHT = 48;

interface ChartProps {
  name: string;
  minutes: Minute[];
  /** The present minute, in milliseconds. The chart ends there. */
  now: number;
  kind: 'bars' | 'line';
  figureOf: (minute: Minute) => number | null;
}

/**
 * One figure over the last hour: bars are numbers, a line is a latency in milliseconds. Minutes in which no process ran are
 * grey, since they have no data.
 */
export function Chart({ name, minutes, now, kind, figureOf }: ChartProps) {
  const words = useWords();
  const shown = lastHour(minutes, now);
  const values = shown.map((minute) => (minute ? figureOf(minute) : null));
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  const step = WIDTH / MINUTES;
  const y = (value: number) => HEIGHT - (value / most) * (HEIGHT - 2);
  // A minute without an end has no latency, so the last one that has is shown.
  const last = values.findLast((value) => value !== null) ?? null;
  const total = values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  const text = kind === 'bars' ? String(total) : duration(last);
  const label = `${name}, ${words.lastHour}: ${text}`;
  return (
    <figure className="chart">
      <figcaption>
        {name} <b>{text}</b>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label} preserveAspectRatio="none">
        <title>{label}</title>
        {gapsOf(shown).map(({ from, length }) => (
          <rect key={from} className="gap" x={from * step} y={0} width={length * step} height={HEIGHT}>
            <title>{words.notRunning}</title>
          </rect>
        ))}
        {kind === 'bars'
          ? values.map((value, index) =>
              value ? (
                <rect
                  key={shown[index]?.at}
                  className="bar"
                  x={index * step}
                  y={y(value)}
                  width={step - 0.6}
                  height={HEIGHT - y(value)}
                />
              ) : null,
            )
          : linesOf(values).map((points) => (
              <polyline
                key={points[0]?.index}
                className={points[0] === points[1] ? 'line dot' : 'line'}
                points={points.map(({ index, value }) => `${(index + 0.5) * step},${y(value)}`).join(' ')}
              />
            ))}
        <line className="axis" x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      </svg>
    </figure>
  );
}

function gapsOf(shown: ReadonlyArray<Minute | undefined>): Array<{ from: number; length: number }> {
  const gaps: Array<{ from: number; length: number }> = [];
  for (const [index, minute] of shown.entries()) {
    if (minute) continue;
    const gap = index > 0 && !shown[index - 1] ? gaps.at(-1) : undefined;
    if (gap) gap.length++;
    else gaps.push({ from: index, length: 1 });
  }
  return gaps;
}

/** Runs of minutes with a value. A line over a gap would show figures that nobody measured. */
function linesOf(values: Array<number | null>): Array<Array<{ index: number; value: number }>> {
  const lines: Array<Array<{ index: number; value: number }>> = [];
  for (const [index, value] of values.entries()) {
    if (value === null) continue;
    if (index === 0 || values[index - 1] === null) lines.push([]);
    lines.at(-1)?.push({ index, value });
  }
  return lines.map((line) => (line.length > 1 ? line : [...line, ...line]));
}
