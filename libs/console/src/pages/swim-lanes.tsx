import { useContext } from 'react';
import { eventText } from '../event-text';
import { LanguageContext, useWords } from '../i18n';
import { BROKER, lanesOf, positionsOf, type Step } from '../lanes';
import { useNarrowScreen } from '../narrow-screen';
import { duration, Time } from '../parts';
import type { Trace } from '../types';

const ROW = 26;
const TOP = 34;
/** The widths of a lane and of the times, in pixels. The narrow ones fit four lanes on a phone. */
const WIDE = { lane: 120, left: 76 };
const NARROW = { lane: 72, left: 52 };

/** Lanes with arrows, down a time axis. The same steps follow as a list, which a screen reader reads in place of the drawing. */
export function SwimLanes({ traces, more }: { traces: Trace[]; more: readonly Step[] }) {
  const words = useWords();
  const language = useContext(LanguageContext);
  const { lanes, steps } = lanesOf(traces, more, (event) => eventText(event, language));
  const positions = positionsOf(steps);
  const first = steps[0]?.at ?? 0;
  const { lane: laneWidth, left } = useNarrowScreen() ? NARROW : WIDE;
  const x = (lane: string) => left + (lanes.indexOf(lane) + 0.5) * laneWidth;
  const y = (index: number) => TOP + 14 + (positions[index] ?? 0) * ROW;
  const width = left + lanes.length * laneWidth;
  const height = y(steps.length - 1) + 24;
  return (
    <section aria-label={words.lanes} className="beside">
      <div className="scroll">
        <h3>{words.lanes}</h3>
        <svg className="lanes" viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
          <defs>
            <marker
              id="head"
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="7"
              markerHeight="7"
              orient="auto-start-reverse"
            >
              <path d="M0 0 8 4 0 8z" />
            </marker>
          </defs>
          {lanes.map((lane) => (
            <g key={lane} className={lane === BROKER ? 'broker' : 'app'}>
              <rect x={x(lane) - laneWidth / 2 + 4} y={4} width={laneWidth - 8} height={22} rx={5} />
              <text x={x(lane)} y={19} textAnchor="middle">
                {lane}
              </text>
              <line x1={x(lane)} x2={x(lane)} y1={TOP} y2={height} />
            </g>
          ))}
          {steps.map((step, index) => (
            <g key={`${step.at} ${step.lane} ${step.text}`} className={step.kind}>
              <text className="offset" x={left - 8} y={y(index) + 4} textAnchor="end">
                +{duration(step.at - first)}
              </text>
              {step.arrow && (
                <line
                  className={step.arrow.isReceipt ? 'arrow receipt' : 'arrow'}
                  markerEnd="url(#head)"
                  x1={x(step.arrow.from)}
                  x2={x(step.arrow.to) + (x(step.arrow.to) > x(step.arrow.from) ? -9 : 9)}
                  y1={y(index)}
                  y2={y(index)}
                />
              )}
              <circle cx={x(step.lane)} cy={y(index)} r={9} />
              <text className="number" x={x(step.lane)} y={y(index) + 4} textAnchor="middle">
                {index + 1}
              </text>
              <title>{step.text}</title>
            </g>
          ))}
        </svg>
      </div>
      <div>
        <h3>{words.events}</h3>
        <ol className="steps">
          {steps.map((step) => (
            <li key={`${step.at} ${step.lane} ${step.text}`} className={step.kind}>
              <Time at={new Date(step.at).toISOString()} /> <b>{step.lane}</b> {step.text}
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}
