import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { Act } from '../act';
import { ActDialog } from '../act-dialog';
import type { AppApi } from '../api';
import { Chart } from '../chart';
import { useWords } from '../i18n';
import { addedUp, type Heard, hearInstances, minuteNow, recent, runningOf } from '../instances';
import { parkedByScheme } from '../parked-by-scheme';
import { duration, Problem } from '../parts';
import { useApps } from '../session';
import type { History, Instance, SummaryRow, Topology } from '../types';

const EVERY_MS = 5_000;
/** The topology asks the broker for every queue, and changes seldom. */
const TOPOLOGY_MS = 10_000;

export function Overview() {
  const words = useWords();
  return (
    <>
      <h2>{words.overview}</h2>
      {useApps().map((api) => (
        <AppOverview key={api.name} api={api} />
      ))}
    </>
  );
}

function AppOverview({ api }: { api: AppApi }) {
  const words = useWords();
  const [act, setAct] = useState<Act | null>(null);
  const [running, setRunning] = useState(1);
  const topology = useInstances<Topology>(api, 'topology', { everyMs: TOPOLOGY_MS, expected: running });
  const history = useInstances<History>(api, 'history', { everyMs: EVERY_MS, expected: running });
  const summary = useQuery({
    refetchInterval: EVERY_MS,
    queryKey: ['summary', api.name],
    queryFn: () => api.get<{ schemes: SummaryRow[] }>('/summary'),
  });
  const answering = recent(topology.data ?? []);
  const counted = Math.max(1, ...answering.map(({ view }) => runningOf(view)));
  useEffect(() => setRunning(counted), [counted]);
  const error = topology.error ?? summary.error ?? history.error;
  const minutes = addedUp((history.data ?? []).map(({ view }) => view.minutes));
  const now = minuteNow(history.data ?? []);
  const schemes = [...new Set(minutes.flatMap((minute) => Object.keys(minute.schemes)))].sort();
  return (
    <section className="card" aria-label={api.name}>
      <h3>{api.name}</h3>
      {answering.map(({ view }) => (
        <Health key={view.instance.host + view.instance.pid + view.instance.startedAt} topology={view} />
      ))}
      {error && <Problem error={error} />}
      {history.data && <Coverage heard={history.data} running={counted} />}
      {schemes.map((scheme) => (
        <div key={scheme} className="scheme">
          <h4>{scheme}</h4>
          <div className="charts">
            {(['started', 'settled', 'retried', 'parked'] as const).map((name) => (
              <Chart
                key={name}
                kind="bars"
                name={words[name]}
                minutes={minutes}
                now={now}
                figureOf={({ schemes: all }) => all[scheme]?.[name] ?? 0}
              />
            ))}
            <Chart
              kind="line"
              name={words.latency}
              minutes={minutes}
              now={now}
              figureOf={({ schemes: all }) => all[scheme]?.p95Ms ?? null}
            />
          </div>
        </div>
      ))}
      {summary.data && <OpenRows api={api} rows={summary.data.schemes} choose={setAct} />}
      {answering[0] && <Queues queues={answering[0].view.queues} />}
      {act && <ActDialog act={act} close={() => setAct(null)} />}
    </section>
  );
}

/** The answers of all instances behind the URL of an app. */
function useInstances<View extends { instance: Instance }>(
  api: AppApi,
  path: string,
  { everyMs, expected }: { everyMs: number; expected: number },
) {
  const client = useQueryClient();
  const queryKey = [path, api.name];
  return useQuery({
    queryKey,
    refetchInterval: everyMs,
    queryFn: () =>
      hearInstances(() => api.get<View>(`/${path}`), client.getQueryData<Array<Heard<View>>>(queryKey) ?? [], expected),
  });
}

/** Says whose events the charts have, unless they are those of the only instance. */
function Coverage({ heard, running }: { heard: ReadonlyArray<Heard<History>>; running: number }) {
  const words = useWords();
  const answering = recent(heard).length;
  const missing = running - answering;
  if (missing <= 0 && heard.length === 1) return null;
  return (
    <p className={missing > 0 ? 'busy' : 'quiet'}>
      {words.chartsAdd}: {answering}
      {heard.length > answering && `, ${words.endedInstances}: ${heard.length - answering}`}
      {missing > 0 && `, ${words.missingInstances}: ${missing}. ${words.missingMeans}`}
    </p>
  );
}

function Health({ topology }: { topology: Topology }) {
  const words = useWords();
  const problems = [
    topology.database.isReady ? null : `${words.database}: ${topology.database.problem ?? '–'}`,
    ...topology.connections.map((one) =>
      one.isUp && !one.isBlocked ? null : `${words.broker}: ${one.problem ?? one.name}`,
    ),
    topology.redis.isUsed && !topology.redis.isUp ? `Redis: ${words.notConnected}` : null,
    ...topology.queues.map((one) => (one.problem ? `${one.queue}: ${one.problem}` : null)),
  ].filter((text) => text !== null);
  const { versions, instance } = topology;
  return (
    <p className="instance">
      <span className={`state ${problems.length > 0 ? 'bad' : 'good'}`}>
        {problems.length > 0 ? problems.join('; ') : words.works}
      </span>{' '}
      <small className="quiet">
        {instance.host} #{instance.pid}, nest-dtx {versions.library}, Node {versions.node}, {versions.database ?? '?'},
        RabbitMQ {versions.broker ?? '?'}
        {topology.redis.isUsed && ', Redis'}
      </small>
    </p>
  );
}

function OpenRows({ api, rows, choose }: { api: AppApi; rows: SummaryRow[]; choose: (act: Act) => void }) {
  const words = useWords();
  const open = rows.filter(({ states }) => Object.keys(states).length > 0);
  const buttons = parkedByScheme(open);
  if (open.length === 0) return <p className="quiet">{words.openRows}: 0</p>;
  return (
    <div className="scroll">
      <table>
        <caption>{words.openRows}</caption>
        <thead>
          <tr>
            <th scope="col">{words.scheme}</th>
            <th scope="col">{words.state}</th>
            <th scope="col">{words.oldestDue}</th>
            <th scope="col">{words.parked}</th>
          </tr>
        </thead>
        <tbody>
          {open.map((row) => (
            <tr key={`${row.scheme} ${row.source}`}>
              <td>
                {row.scheme} <small className="quiet">{row.source}</small>
              </td>
              <td>
                {Object.entries(row.states)
                  .map(([state, count]) => `${state} ${count}`)
                  .join(', ')}
              </td>
              <td>{duration(row.oldestDueMs)}</td>
              <td>
                {row.parked}{' '}
                {buttons
                  .filter(({ first }) => first === row)
                  .map(({ scheme, count }) => (
                    <button
                      key={scheme}
                      type="button"
                      onClick={() => choose({ kind: 'retry-all', api, scheme, count, targets: [] })}
                    >
                      {words.retryAllParked}: {scheme}
                    </button>
                  ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Queues({ queues }: { queues: Topology['queues'] }) {
  const words = useWords();
  return (
    <details>
      <summary>
        {words.queues}: {queues.length}, {words.messagesWait}:{' '}
        {queues.reduce((sum, { messages }) => sum + (messages ?? 0), 0)}
      </summary>
      <div className="scroll">
        <table className="stacked">
          <thead>
            <tr>
              <th scope="col">{words.queue}</th>
              <th scope="col">{words.waiting}</th>
              <th scope="col">{words.inWork}</th>
              <th scope="col">{words.consumers}</th>
            </tr>
          </thead>
          <tbody>
            {queues.map((one) => (
              <tr key={one.queue}>
                <td className="id">{one.queue}</td>
                <td data-label={words.waiting}>{one.messages ?? '?'}</td>
                <td data-label={words.inWork}>
                  {one.busy} / {one.prefetch}
                </td>
                <td data-label={words.consumers} className={one.consumers === 0 ? 'bad' : undefined}>
                  {one.consumers ?? '?'}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
