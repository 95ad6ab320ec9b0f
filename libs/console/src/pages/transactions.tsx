import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { type AppApi, cursorBefore } from '../api';
import { useWords } from '../i18n';
import { Problem, State, Time } from '../parts';
import { useApps } from '../session';
import { FINAL_STATES, OPEN_STATES } from '../states';
import type { Page, SummaryRow, Transaction } from '../types';

const LIMIT = 50;
const EVERY_MS = 10_000;
const STATES = [...OPEN_STATES, ...FINAL_STATES];
/** Ages by their names. */
const AGES: Record<string, number> = { '1 min': 60_000, '10 min': 600_000, '1 h': 3_600_000, '1 d': 86_400_000 };

interface Filter {
  scheme: string;
  state: string;
  before: string;
  age: string;
}

export function Transactions() {
  const words = useWords();
  const apps = useApps();
  const [app, setApp] = useState(apps[0]?.name ?? '');
  const [filter, setFilter] = useState<Filter>({ scheme: '', state: '', before: '', age: '' });
  const set = (part: Partial<Filter>) => setFilter((now) => ({ ...now, ...part }));
  const api = apps.find(({ name }) => name === app) ?? apps[0];
  const open = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const id = String(new FormData(event.currentTarget).get('id') ?? '').trim();
    if (id) location.hash = `#/transaction/${encodeURIComponent(id)}`;
  };
  return (
    <>
      <h2>{words.transactions}</h2>
      <div className="filters">
        <Choice label={words.app} value={app} choices={apps.map(({ name }) => name)} choose={setApp} />
        <Choice
          label={words.scheme}
          value={filter.scheme}
          choices={useSchemesOf(api)}
          none={words.all}
          choose={(scheme) => set({ scheme })}
        />
        <Choice
          label={words.state}
          value={filter.state}
          choices={STATES}
          none={words.all}
          choose={(state) => set({ state })}
        />
        <label>
          {words.before}
          <input
            type="datetime-local"
            value={filter.before}
            onChange={(event) => set({ before: event.target.value, age: '' })}
          />
        </label>
        <Choice
          label={words.olderThan}
          value={filter.age}
          choices={Object.keys(AGES)}
          none={words.all}
          choose={(age) => set({ age, before: '' })}
        />
        <form onSubmit={open}>
          <label>
            {words.id}
            <input name="id" maxLength={160} />
          </label>
          <button type="submit">{words.open}</button>
        </form>
      </div>
      {api && <List key={`${api.name} ${JSON.stringify(filter)}`} api={api} filter={filter} />}
    </>
  );
}

/** The schemes of an app, as it names them itself. */
function useSchemesOf(api: AppApi | undefined): string[] {
  const { data } = useQuery({
    queryKey: ['summary', api?.name],
    queryFn: () => api?.get<{ schemes: SummaryRow[] }>('/summary') ?? { schemes: [] },
    enabled: api !== undefined,
  });
  return [...new Set(data?.schemes.map(({ scheme }) => scheme))].sort();
}

function firstCursor({ before, age }: Filter): string {
  if (before) return cursorBefore(new Date(before));
  const ms = AGES[age];
  return ms ? cursorBefore(new Date(Date.now() - ms)) : '';
}

interface ChoiceProps {
  label: string;
  value: string;
  choices: readonly string[];
  none?: string;
  choose: (value: string) => void;
}

function Choice({ label, value, choices, none, choose }: ChoiceProps) {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => choose(event.target.value)}>
        {none && <option value="">{none}</option>}
        {choices.map((choice) => (
          <option key={choice}>{choice}</option>
        ))}
      </select>
    </label>
  );
}

/** Pages by the last id, so the millionth row costs as much as the first. Only the first page follows changes. */
function List({ api, filter }: { api: AppApi; filter: Filter }) {
  const words = useWords();
  const [cursors, setCursors] = useState<string[]>([]);
  // The age counts from the choice. A list that moved on with the clock would never hold still.
  const [first] = useState(() => firstCursor(filter));
  const cursor = cursors.at(-1) ?? first;
  const query = new URLSearchParams({ limit: String(LIMIT) });
  for (const [name, value] of Object.entries({ scheme: filter.scheme, state: filter.state, cursor }))
    if (value) query.set(name, value);
  const { data, error, isPending } = useQuery({
    queryKey: [cursor === first ? 'list' : 'older', api.name, query.toString()],
    queryFn: () => api.get<Page<Transaction>>(`/transactions?${query}`),
    placeholderData: keepPreviousData,
    // Events are those of one instance. The others of the app change rows, too.
    refetchInterval: cursor === first && EVERY_MS,
  });
  return (
    <>
      {error && <Problem error={error} />}
      {isPending && <p>{words.loading} …</p>}
      {data && <Table items={data.items} />}
      {data?.items.length === 0 && <p>{words.none}</p>}
      <p className="paging">
        <button type="button" disabled={cursors.length === 0} onClick={() => setCursors([])}>
          {words.first}
        </button>
        <button
          type="button"
          disabled={!data?.nextCursor}
          onClick={() => data?.nextCursor && setCursors([...cursors, data.nextCursor])}
        >
          {words.next}
        </button>
      </p>
    </>
  );
}

function Table({ items }: { items: Transaction[] }) {
  const words = useWords();
  return (
    <div className="scroll">
      <table className="stacked">
        <thead>
          <tr>
            <th scope="col">{words.created}</th>
            <th scope="col">{words.scheme}</th>
            <th scope="col">{words.what}</th>
            <th scope="col">{words.state}</th>
            <th scope="col">{words.attempts}</th>
            <th scope="col">{words.error}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((one) => (
            <tr key={`${one.id} ${one.scheme} ${one.what}`}>
              <td data-label={words.created}>
                <Time at={one.createdAt} />
              </td>
              <td data-label={words.scheme}>{one.scheme}</td>
              <td data-label={words.what}>
                <a href={`#/transaction/${encodeURIComponent(one.gid ?? one.id)}`}>{one.what}</a>
                <br />
                <small className="id quiet">{one.gid ?? one.id}</small>
              </td>
              <td data-label={words.state}>
                <State state={one.state} />
              </td>
              <td data-label={words.attempts}>{one.attempts}</td>
              <td className="error" data-label={words.error}>
                {one.lastError?.slice(0, 200)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
