import { keepPreviousData, useQueries } from '@tanstack/react-query';
import { useState } from 'react';
import type { Act, ActKind } from '../act';
import { ActDialog } from '../act-dialog';
import type { AppApi } from '../api';
import { useWords } from '../i18n';
import { Problem, Time } from '../parts';
import { retryMeaning } from '../retry-meaning';
import { useApps } from '../session';
import type { Alert, Page } from '../types';

const LIMIT = 100;
const EVERY_MS = 10_000;

interface Shown {
  readonly api: AppApi;
  readonly alert: Alert;
  readonly key: string;
}

export function AlertsPage() {
  const words = useWords();
  const apps = useApps();
  const [onlyOpen, setOnlyOpen] = useState(true);
  const [pages, setPages] = useState(1);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [act, setAct] = useState<Act | null>(null);
  const queries = useQueries({
    queries: apps.map((api) => ({
      queryKey: ['alerts', api.name, onlyOpen, pages],
      queryFn: () => newestAlerts(api, onlyOpen, pages),
      placeholderData: keepPreviousData,
      // As many calls a minute for many pages as for one.
      refetchInterval: EVERY_MS * pages,
    })),
  });
  const shown: Shown[] = apps.flatMap((api, index) =>
    (queries[index]?.data?.items ?? []).map((alert) => ({ api, alert, key: `${api.name} ${alert.id}` })),
  );
  shown.sort((one, other) => other.alert.openedAt.localeCompare(one.alert.openedAt));
  const areMore = queries.some(({ data }) => data?.nextCursor);
  const selected = shown.filter(({ key }) => chosen.has(key));
  const close = () => {
    setAct(null);
    setChosen(new Set());
  };
  return (
    <>
      <h2>{words.alerts}</h2>
      {queries.map(({ error }, index) => error && <Problem key={apps[index]?.name} error={error} />)}
      <label>
        <input type="checkbox" checked={onlyOpen} onChange={(event) => setOnlyOpen(event.target.checked)} />{' '}
        {words.onlyOpen}
      </label>
      <Bar selected={selected} start={(kind) => setAct(actOn(kind, selected))} />
      {shown.length === 0 ? (
        <p>{words.none}</p>
      ) : (
        <Table shown={shown} chosen={chosen} choose={setChosen} start={(kind, one) => setAct(actOn(kind, [one]))} />
      )}
      {areMore && (
        <p className="paging">
          {words.thereAreMore}{' '}
          <button type="button" onClick={() => setPages(pages + 1)}>
            {words.more}
          </button>
        </p>
      )}
      {act && <ActDialog act={act} close={close} />}
    </>
  );
}

/** The first pages of an app. A failed page fails them all, since a list with a hole would look complete. */
async function newestAlerts(api: AppApi, onlyOpen: boolean, pages: number): Promise<Page<Alert>> {
  const items: Alert[] = [];
  let nextCursor: string | null = null;
  for (let page = 0; page === 0 || (page < pages && nextCursor); page++) {
    const query = new URLSearchParams({ limit: String(LIMIT), ...(onlyOpen && { open: 'true' }) });
    if (nextCursor) query.set('cursor', nextCursor);
    const next: Page<Alert> = await api.get(`/alerts?${query}`);
    items.push(...next.items);
    nextCursor = next.nextCursor;
  }
  return { items, nextCursor };
}

/** An acknowledgement names the alert, the other actions its row. */
function actOn(kind: ActKind, shown: readonly Shown[]): Act {
  const targets = shown
    .filter(({ alert }) => alert.closedAt === null && (kind === 'acknowledge' || alert.closesBy === 'retry'))
    .map(({ api, alert }) => ({
      api,
      id: kind === 'acknowledge' ? alert.id : alert.subject,
      what: `${alert.scheme} ${alert.step}`,
      scheme: alert.scheme,
    }));
  return { kind, targets };
}

function Bar({ selected, start }: { selected: readonly Shown[]; start: (kind: ActKind) => void }) {
  const words = useWords();
  const buttons = [
    ['retry', words.retry],
    ['done', words.resolveDone],
    ['reject', words.resolveReject],
    ['acknowledge', words.acknowledge],
  ] as const;
  return (
    <p className="actions" role="toolbar" aria-label={words.selected}>
      <output>
        {selected.length} {words.selected}
      </output>
      {buttons.map(([kind, label]) => (
        <button key={kind} type="button" disabled={selected.length === 0} onClick={() => start(kind)}>
          {label}
        </button>
      ))}
    </p>
  );
}

interface TableProps {
  shown: readonly Shown[];
  chosen: ReadonlySet<string>;
  choose: (keys: ReadonlySet<string>) => void;
  start: (kind: ActKind, one: Shown) => void;
}

function Table({ shown, chosen, choose, start }: TableProps) {
  const words = useWords();
  const toggle = (key: string) => {
    const now = new Set(chosen);
    if (!now.delete(key)) now.add(key);
    choose(now);
  };
  const areAll = shown.every(({ key }) => chosen.has(key));
  return (
    <div className="scroll">
      <table className="stacked">
        <thead>
          <tr>
            <th scope="col" data-label={words.selectAll}>
              <input
                type="checkbox"
                aria-label={words.selectAll}
                checked={areAll}
                onChange={() => choose(new Set(areAll ? [] : shown.map(({ key }) => key)))}
              />
            </th>
            <th scope="col">{words.opened}</th>
            <th scope="col">{words.app}</th>
            <th scope="col">{words.what}</th>
            <th scope="col">{words.why}</th>
            <th scope="col">{words.whoNext}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((one) => (
            <tr key={one.key} className={one.alert.closedAt ? 'quiet' : undefined}>
              <td>
                <input
                  type="checkbox"
                  aria-label={`${one.alert.scheme} ${one.alert.subject}`}
                  checked={chosen.has(one.key)}
                  onChange={() => toggle(one.key)}
                />
              </td>
              <td data-label={words.opened}>
                <Time at={one.alert.openedAt} />
              </td>
              <td data-label={words.app}>{one.api.name}</td>
              <td data-label={words.what}>
                <a href={`#/transaction/${encodeURIComponent(one.alert.gid ?? one.alert.subject)}`}>
                  {one.alert.scheme} {one.alert.step}
                </a>
                <br />
                <small className="id quiet">{one.alert.subject}</small>
              </td>
              <td className="error" data-label={words.why}>
                {one.alert.lastError}
              </td>
              <td data-label={words.whoNext}>
                <ToDo one={one} start={start} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ToDo({ one, start }: { one: Shown; start: TableProps['start'] }) {
  const words = useWords();
  const { alert } = one;
  if (alert.closedAt)
    return (
      <>
        {words.closed} <Time at={alert.closedAt} />
      </>
    );
  if (alert.closesBy === 'itself') return <>{words.closesItself}</>;
  const kind = alert.closesBy === 'acknowledge' ? 'acknowledge' : 'retry';
  return (
    <>
      <button type="button" onClick={() => start(kind, one)}>
        {words[kind]}
      </button>
      <br />
      <small className="quiet">{words[kind === 'retry' ? retryMeaning(alert.scheme) : 'acknowledgeMeans']}</small>
    </>
  );
}
