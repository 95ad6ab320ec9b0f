import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { type AppApi, CallFailed } from './api';
import { useWords, type Word } from './i18n';
import { Field } from './parts';

export type ActKind = 'retry' | 'done' | 'reject' | 'acknowledge' | 'retry-all';

/** An action on rows, before it is confirmed. `targets` are ids of rows, or of alerts for `acknowledge`. */
export interface Act {
  readonly kind: ActKind;
  readonly targets: ReadonlyArray<{ readonly api: AppApi; readonly id: string; readonly what: string }>;
  /** For `retry-all`. */
  readonly api?: AppApi;
  readonly scheme?: string;
  readonly count?: number;
}

interface Result {
  readonly id: string;
  readonly text: string;
  readonly isDone: boolean;
}

const TITLE: Record<ActKind, Word> = {
  retry: 'retry',
  done: 'resolveDone',
  reject: 'resolveReject',
  acknowledge: 'acknowledge',
  'retry-all': 'retryAllParked',
};
const MEANING: Record<ActKind, Word> = {
  retry: 'retryMeans',
  done: 'doneMeans',
  reject: 'rejectMeans',
  acknowledge: 'acknowledgeMeans',
  'retry-all': 'allMeans',
};
/** The last name in this tab. It is not stored. */
let lastOperator = '';

/** Shows how many rows an action concerns and what it does, asks for a name and a note, and then the result of each row. */
export function ActDialog({ act, close }: { act: Act; close: () => void }) {
  const words = useWords();
  const client = useQueryClient();
  const dialog = useRef<HTMLDialogElement>(null);
  const [results, setResults] = useState<Result[] | null>(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);
  const needsNote = act.kind === 'done' || act.kind === 'reject';
  const count = act.kind === 'retry-all' ? (act.count ?? 0) : act.targets.length;
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    lastOperator = String(given.get('operator') ?? '');
    setBusy(true);
    setResults(await carryOut(act, { operator: lastOperator, note: String(given.get('note') ?? '') }, words));
    setBusy(false);
    void client.invalidateQueries();
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="act-title">
      <h3 id="act-title">
        {words[TITLE[act.kind]]}: {count} {count === 1 ? words.row : words.rows}
      </h3>
      <p>{words[MEANING[act.kind]]}</p>
      {act.scheme && (
        <p>
          {act.api?.name}: {act.scheme}
        </p>
      )}
      <ul className="targets">
        {act.targets.map(({ api, id, what }) => (
          <li key={`${api.name} ${id}`}>
            {api.name}: {what} <small className="id quiet">{id}</small>
            <Outcome result={results?.find((one) => one.id === id)} />
          </li>
        ))}
      </ul>
      {act.kind === 'retry-all' && results?.map((result) => <Outcome key={result.id} result={result} />)}
      {results ? (
        <button type="button" className="main" onClick={() => dialog.current?.close()}>
          {words.close}
        </button>
      ) : (
        <form onSubmit={submit}>
          <Field label={words.operator}>
            {(id) => <input id={id} name="operator" maxLength={64} defaultValue={lastOperator} required />}
          </Field>
          {act.kind !== 'acknowledge' && act.kind !== 'retry-all' && (
            <Field label={words.note}>
              {(id) => <input id={id} name="note" maxLength={1_000} required={needsNote} />}
            </Field>
          )}
          <button type="submit" className="main" disabled={isBusy}>
            {words.confirm}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {words.cancel}
          </button>
        </form>
      )}
    </dialog>
  );
}

function Outcome({ result }: { result: Result | undefined }) {
  if (!result) return null;
  return <output className={result.isDone ? 'good' : 'bad'}> {result.text}</output>;
}

type Words = ReturnType<typeof useWords>;

/** One call after the other, so that an app is not flooded. Each row has its own result. */
async function carryOut(act: Act, by: { operator: string; note: string }, words: Words): Promise<Result[]> {
  if (act.kind === 'retry-all' && act.api) {
    act.api.operator = by.operator;
    const { api, scheme = '' } = act;
    return [
      await attempt(scheme, words, async () => {
        const { matching } = await api.post<{ matching: number }>('/transactions/retry', { scheme, state: 'PARKED' });
        return `${matching} ${words.rows}`;
      }),
    ];
  }
  const results: Result[] = [];
  for (const { api, id } of act.targets) {
    api.operator = by.operator;
    results.push(await attempt(id, words, () => callOf(act.kind, api, id, by.note).then(() => words.ok)));
  }
  return results;
}

function callOf(kind: ActKind, api: AppApi, id: string, note: string): Promise<unknown> {
  const at = encodeURIComponent(id);
  if (kind === 'acknowledge') return api.post(`/alerts/${at}/acknowledge`, {});
  if (kind === 'retry') return api.post(`/transactions/${at}/retry`, note ? { note } : {});
  return api.post(`/transactions/${at}/resolve`, { outcome: kind, note });
}

async function attempt(id: string, words: Words, work: () => Promise<string>): Promise<Result> {
  try {
    return { id, text: await work(), isDone: true };
  } catch (error) {
    const { status = 0, detail = String(error) } = error as Partial<CallFailed>;
    const hint = status === 409 ? words.somebodyElse : status === 404 ? words.gone : '';
    return { id, text: hint ? `${hint} (${detail})` : detail, isDone: false };
  }
}
