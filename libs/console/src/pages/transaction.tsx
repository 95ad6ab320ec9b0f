import { useQueries, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Act, ActKind } from '../act';
import { ActDialog } from '../act-dialog';
import { type AppApi, CallFailed } from '../api';
import { useWords } from '../i18n';
import type { Step } from '../lanes';
import { isOpen, nextActorOf } from '../next-actor';
import { Problem, State, Time } from '../parts';
import { useApps } from '../session';
import { SINGLE, type Trace, type TracedRow } from '../types';
import { useRowById } from './row-by-id';
import { SwimLanes } from './swim-lanes';

const EVERY_MS = 5_000;
/** The tables whose rows have business data. */
const WITH_DATA = [
  SINGLE,
  'dtx_outbox',
  'dtx_keyed',
  'dtx_inbox',
  'dtx_half',
  'dtx_half_parked',
  'dtx_notification',
  'dtx_saga',
];

export function TransactionPage({ gid }: { gid: string }) {
  return (
    <>
      <h2>
        <span className="id">{gid}</span>
      </h2>
      <TransactionView gid={gid} />
    </>
  );
}

interface TransactionViewProps {
  gid: string;
  everyMs?: number;
  /** Steps beside those of the rows, such as the death of a process. */
  more?: readonly Step[];
}

/** The rows and lanes of all apps. What an app knew last stays while it is down. */
export function TransactionView({ gid, everyMs = EVERY_MS, more = [] }: TransactionViewProps) {
  const words = useWords();
  const apps = useApps();
  const [act, setAct] = useState<Act | null>(null);
  const queries = useQueries({
    queries: apps.map((api) => ({
      queryKey: ['trace', api.name, gid],
      queryFn: () => api.get<Trace>(`/traces/${encodeURIComponent(gid)}`),
      refetchInterval: everyMs,
    })),
  });
  const answered = queries.flatMap(({ data }) => (data ? [data] : []));
  const single = useRowById(gid, {
    isNeeded:
      queries.every(({ isPending }) => !isPending) &&
      answered.length > 0 &&
      answered.every(({ rows: none }) => none.length === 0),
    everyMs,
  });
  const traces = single ? [single.trace] : answered;
  const rows = single
    ? single.trace.rows.map((row) => ({ api: single.api, row }))
    : apps.flatMap((api, index) => (queries[index]?.data?.rows ?? []).map((row) => ({ api, row })));
  const isKnown = rows.length > 0;
  return (
    <>
      {queries.map(({ error }, index) => error && <Problem key={apps[index]?.name} error={error} />)}
      {!isKnown && more.length === 0 && (
        <p>{queries.some(({ isPending }) => isPending) ? `${words.loading} …` : words.unknownGid}</p>
      )}
      {traces.some(({ isComplete }) => !isComplete) && <p className="bad">{words.incomplete}</p>}
      {single && <p className="quiet">{words.byId}</p>}
      {isKnown && <Rows rows={rows} choose={setAct} />}
      {(isKnown || more.length > 0) && <SwimLanes traces={traces} more={more} />}
      {act && <ActDialog act={act} close={() => setAct(null)} />}
    </>
  );
}

function Rows({ rows, choose }: { rows: Array<{ api: AppApi; row: TracedRow }>; choose: (act: Act) => void }) {
  const words = useWords();
  return (
    <section aria-label={words.onDisk}>
      <h3>{words.onDisk}</h3>
      <div className="scroll">
        <table className="stacked">
          <thead>
            <tr>
              <th scope="col">{words.app}</th>
              <th scope="col">{words.what}</th>
              <th scope="col">{words.state}</th>
              <th scope="col">{words.attempts}</th>
              <th scope="col">{words.whoNext}</th>
              <th scope="col">{words.error}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ api, row }) => (
              <tr key={`${api.name} ${row.source} ${row.id}`}>
                <td data-label={words.app}>{api.name}</td>
                <td data-label={words.what}>
                  {row.what} <small className="quiet">{row.source}</small>
                  {WITH_DATA.includes(row.source) && <Payload api={api} id={row.id} />}
                </td>
                <td data-label={words.state}>
                  <State state={row.state} />
                </td>
                <td data-label={words.attempts}>{row.attempts}</td>
                <td data-label={words.whoNext}>
                  <Next row={row} />
                  {isOpen(row) && <Actions api={api} row={row} choose={choose} />}
                </td>
                <td className="error" data-label={words.error}>
                  {row.lastError}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Next({ row }: { row: TracedRow }) {
  const words = useWords();
  const actor = nextActorOf(row);
  if (actor === 'finished') return <span className="quiet">{words.finished}</span>;
  if (actor === 'recovery') return <b className="bad">{words.recoveryNext}</b>;
  if (actor === 'operator') return <b className="bad">{words.operatorNext}</b>;
  if (actor === 'predecessor') return words.predecessorNext;
  const awaiting = row.message?.awaiting ?? [];
  if (actor === 'receiver') return <b className="bad">{`${words.receiverNext} ${awaiting.join(', ')}`}</b>;
  if (actor === 'schedule' && row.nextAttemptAt)
    return (
      <>
        {words.scheduleNext} <Time at={row.nextAttemptAt} />
      </>
    );
  return (
    <>
      {awaiting.length > 0 && `${words.receiptsNext} ${awaiting.join(', ')}. `}
      {row.nextAttemptAt ? (
        <>
          {words.retriesNext} <Time at={row.nextAttemptAt} />
        </>
      ) : (
        words.appNext
      )}
    </>
  );
}

function Actions({ api, row, choose }: { api: AppApi; row: TracedRow; choose: (act: Act) => void }) {
  const words = useWords();
  const start = (kind: ActKind) => () =>
    choose({ kind, targets: [{ api, id: row.id, what: row.what, scheme: row.scheme }] });
  return (
    <p className="actions">
      <button type="button" onClick={start('retry')}>
        {words.retry}
      </button>
      <button type="button" onClick={start('done')}>
        {words.resolveDone}
      </button>
      <button type="button" onClick={start('reject')}>
        {words.resolveReject}
      </button>
    </p>
  );
}

/** Business data is read when it is unfolded. It is text, whatever it contains. */
function Payload({ api, id }: { api: AppApi; id: string }) {
  const words = useWords();
  const [isShown, show] = useState(false);
  const { data, error } = useQuery({
    queryKey: ['payload', api.name, id],
    queryFn: () => api.get<{ text: string | null }>(`/transactions/${encodeURIComponent(id)}/payload`),
    enabled: isShown,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const problem =
    error instanceof CallFailed && error.status === 403 ? words.payloadHidden : error ? words.payloadNone : '';
  return (
    <details onToggle={(event) => show(event.currentTarget.open)}>
      <summary>{words.payload}</summary>
      {problem || (data && <pre>{data.text ?? words.payloadNone}</pre>)}
    </details>
  );
}
