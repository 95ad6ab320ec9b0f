import { useContext } from 'react';
import { LanguageContext } from '../i18n';
import { BROKER } from '../lanes';
import { useNarrowScreen } from '../narrow-screen';
import type { Point } from './lab-types';
import { useLabWords } from './lab-words';
import { type DiagramRow, protocolOf, rowsOf } from './protocols';

/** The widths of the column with the texts and of a lane, in pixels. The narrow ones fit three lanes on a phone. */
const WIDE = { texts: 236, lane: 170 };
const NARROW = { texts: 98, lane: 86 };
const TOP = 40;
const ROW = 42;

interface DiagramProps {
  scheme: string;
  points: readonly Point[];
  chosen: string | null;
  choose: (point: Point) => void;
}

/** Lanes and arrows are a drawing. The steps and the crash points over it are text and buttons, in the order of the protocol. */
export function Diagram({ scheme, points, chosen, choose }: DiagramProps) {
  const words = useLabWords();
  const language = useContext(LanguageContext);
  const protocol = protocolOf(scheme, points);
  const lanes = [...new Set([...protocol.lanes, ...points.map(({ app }) => app)])];
  const rows = rowsOf(protocol, points);
  const { texts, lane: laneWidth } = useNarrowScreen() ? NARROW : WIDE;
  const size = { width: texts + lanes.length * laneWidth, height: TOP + rows.length * ROW + 8 };
  const left = (lane: string) => texts + lanes.indexOf(lane) * laneWidth;
  return (
    <div className="scroll">
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out over a drawing */}
      <div className="diagram" role="group" aria-label={`${words.diagram} ${scheme}`} style={size}>
        <Drawing lanes={lanes} rows={rows} size={size} left={left} laneWidth={laneWidth} />
        {rows.map(({ step, point }, index) =>
          step ? (
            <p key={`step ${step.step}`} className="step" style={{ top: TOP + index * ROW, width: texts - 8 }}>
              <b>{step.step}</b> {step.text[language]}
            </p>
          ) : (
            <button
              key={point.name}
              type="button"
              className="point"
              aria-pressed={point.name === chosen}
              aria-label={`${words.point} ${point.name}`}
              style={{ top: TOP + index * ROW + 4, left: left(point.app) + 5, width: laneWidth - 10 }}
              onClick={() => choose(point)}
            >
              {point.name.slice(point.name.indexOf('.') + 1)}
            </button>
          ),
        )}
      </div>
    </div>
  );
}

interface DrawingProps {
  lanes: readonly string[];
  rows: readonly DiagramRow[];
  size: { width: number; height: number };
  left: (lane: string) => number;
  laneWidth: number;
}

function Drawing({ lanes, rows, size, left, laneWidth }: DrawingProps) {
  const middle = (lane: string) => left(lane) + laneWidth / 2;
  return (
    <svg className="lanes" viewBox={`0 0 ${size.width} ${size.height}`} {...size} aria-hidden="true">
      <defs>
        <marker
          id="tip"
          viewBox="0 0 8 8"
          refX="7"
          refY="4"
          markerWidth="8"
          markerHeight="8"
          orient="auto-start-reverse"
        >
          <path d="M0 0 8 4 0 8z" />
        </marker>
      </defs>
      {lanes.map((lane) => (
        <g key={lane} className={lane === BROKER ? 'broker' : 'app'}>
          <rect x={left(lane) + 5} y={4} width={laneWidth - 10} height={26} rx={5} />
          <text x={middle(lane)} y={21} textAnchor="middle">
            {lane}
          </text>
          <line x1={middle(lane)} x2={middle(lane)} y1={32} y2={size.height} />
        </g>
      ))}
      {rows.map(({ step }, index) => {
        if (!step) return null;
        const y = TOP + index * ROW + ROW / 2;
        if (step.from === step.to) return <circle key={step.step} cx={middle(step.from)} cy={y} r={7} />;
        const back = middle(step.to) > middle(step.from) ? -4 : 4;
        return (
          <line
            key={step.step}
            className="arrow"
            markerEnd="url(#tip)"
            x1={middle(step.from)}
            x2={middle(step.to) + back}
            y1={y}
            y2={y}
          />
        );
      })}
    </svg>
  );
}
