import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { type Act, type ActKind, carryOut, type Result, retriedSchemes, rowsOf } from './act';
import { useWords, type Word } from './i18n';
import { Field } from './parts';
import { retryMeaning } from './retry-meaning';

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
  const [results, setResults] = useState<Result[]>([]);
  const [phase, setPhase] = useState<'asking' | 'running' | 'over'>('asking');
  const stop = useRef(new AbortController());
  useEffect(() => {
    dialog.current?.showModal();
    const { current } = stop;
    // Nobody would see the results of a page that is left.
    return () => current.abort();
  }, []);
  const needsNote = act.kind === 'done' || act.kind === 'reject';
  const count = rowsOf(act);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    lastOperator = String(given.get('operator') ?? '');
    setPhase('running');
    const by = { operator: lastOperator, note: String(given.get('note') ?? '') };
    await carryOut(act, by, words, stop.current.signal, (result) => setResults((before) => [...before, result]));
    setPhase('over');
    void client.invalidateQueries();
  };
  const closed = () => {
    if (phase !== 'running') return close();
    // The Escape key closes it whatever the page says. It stays open until the call under way has its result.
    stop.current.abort();
    dialog.current?.showModal();
  };
  return (
    <dialog ref={dialog} onClose={closed} aria-labelledby="act-title">
      <h3 id="act-title">
        {words[TITLE[act.kind]]}: {count} {count === 1 ? words.row : words.rows}
      </h3>
      <p>{words[MEANING[act.kind]]}</p>
      {retriedSchemes(act).map((scheme) => (
        <p key={scheme}>
          {scheme}: {words[retryMeaning(scheme)]}
        </p>
      ))}
      {act.api && (
        <p>
          {words.app}: {act.api.name}
        </p>
      )}
      <ul className="targets">
        {act.targets.map(({ api, id, what }) => (
          <li key={`${api.name} ${id}`}>
            {api.name}: {what} <small className="id quiet">{id}</small>
            <Outcome result={results.find((one) => one.id === id && one.app === api.name)} />
            {phase === 'over' && !results.some((one) => one.id === id && one.app === api.name) && (
              <output className="busy"> {words.notDone}</output>
            )}
          </li>
        ))}
      </ul>
      {act.kind === 'retry-all' && results.map((result) => <Outcome key={result.id} result={result} />)}
      {phase !== 'asking' && act.targets.length > 1 && <Progress results={results} of={act.targets.length} />}
      {phase === 'asking' && (
        <form onSubmit={submit}>
          <Field label={words.operator}>
            {(id) => <input id={id} name="operator" maxLength={64} defaultValue={lastOperator} required />}
          </Field>
          {act.kind !== 'acknowledge' && act.kind !== 'retry-all' && (
            <Field label={words.note}>
              {(id) => <input id={id} name="note" maxLength={1_000} required={needsNote} />}
            </Field>
          )}
          <button type="submit" className="main" disabled={count === 0}>
            {words.confirm}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {words.cancel}
          </button>
        </form>
      )}
      {phase === 'running' && (
        <button type="button" onClick={() => stop.current.abort()}>
          {words.stop}
        </button>
      )}
      {phase === 'over' && (
        <button type="button" className="main" onClick={() => dialog.current?.close()}>
          {words.close}
        </button>
      )}
    </dialog>
  );
}

/** How many rows are done, have failed, and are left. */
function Progress({ results, of }: { results: readonly Result[]; of: number }) {
  const words = useWords();
  const done = results.filter(({ isDone }) => isDone).length;
  const failed = results.length - done;
  return (
    <p role="status">
      {words.ok}: {done} / {of}
      {failed > 0 && `, ${words.failed}: ${failed}`}
      {results.length < of && `, ${words.notDone}: ${of - results.length}`}
    </p>
  );
}

function Outcome({ result }: { result: Result | undefined }) {
  if (!result) return null;
  return <output className={result.isDone ? 'good' : 'bad'}> {result.text}</output>;
}
