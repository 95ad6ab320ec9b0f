import { useWords } from './i18n';
import type { Minute } from './types';

const WIDTH = 240;
const HEIGHT = 48;
const MINUTES = 60;

interface ChartProps {
  name: string;
  minutes: Minute[];
  kind: 'bars' | 'line';
  figureOf: (minute: Minute) => number | null;
  unit?: string;
}

/** One figure over the last hour. Minutes before the start of the process are grey, since they have no data. */
export function Chart({ name, minutes, kind, figureOf, unit = '' }: ChartProps) {
  const words = useWords();
  const values = minutes.map(figureOf);
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  const step = WIDTH / MINUTES;
  const offset = MINUTES - values.length;
  const x = (index: number) => (offset + index) * step;
  const y = (value: number) => HEIGHT - (value / most) * (HEIGHT - 2);
  const last = values.at(-1) ?? 0;
  const total = values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  const figure = kind === 'bars' ? total : last;
  const label = `${name}, ${words.lastHour}: ${figure}${unit}`;
  return (
    <figure className="chart">
      <figcaption>
        {name}{' '}
        <b>
          {figure}
          {unit}
        </b>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label} preserveAspectRatio="none">
        <title>{label}</title>
        {offset > 0 && (
          <rect className="gap" x={0} y={0} width={offset * step} height={HEIGHT}>
            <title>{words.notRunning}</title>
          </rect>
        )}
        {kind === 'bars'
          ? values.map((value, index) =>
              value ? (
                <rect
                  key={minutes[index]?.at}
                  className="bar"
                  x={x(index)}
                  y={y(value)}
                  width={step - 0.6}
                  height={HEIGHT - y(value)}
                />
              ) : null,
            )
          : linesOf(values).map((points) => (
              <polyline
                key={points[0]?.index}
                className="line"
                points={points.map(({ index, value }) => `${x(index) + step / 2},${y(value)}`).join(' ')}
              />
            ))}
        <line className="axis" x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      </svg>
    </figure>
  );
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
