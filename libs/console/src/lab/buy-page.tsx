import { type FormEvent, useContext, useState } from 'react';
import { LanguageContext } from '../i18n';
import { Field } from '../parts';
import { Followed, JobState, Record } from './job-panel';
import { useSchemes, useStart, useStatus } from './lab-session';
import type { Compared } from './lab-types';
import { useLabWords } from './lab-words';
import { aboutScheme } from './protocols';

const GOODS = ['book', 'mug', 'phone'];

export function BuyPage() {
  const words = useLabWords();
  const language = useContext(LanguageContext);
  const { data: status } = useStatus();
  const { start, problem } = useStart();
  const { purchases } = useSchemes();
  const [wanted, setWanted] = useState({ scheme: 'local-message', buyerId: 'alice', sku: 'book', quantity: 1 });
  const set = (part: Partial<typeof wanted>) => setWanted((now) => ({ ...now, ...part }));
  const job = status?.job;
  const isBusy = !status?.isServing || job?.state === 'running';
  const { scheme, ...purchase } = wanted;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    start('/purchases', { scheme, ...purchase });
  };
  const buyers = [
    ['alice', words.rich],
    ['bob', words.poor],
    ['nobody', words.unknown],
  ] as const;
  return (
    <>
      <h2>{words.buy}</h2>
      <form className="card buy" onSubmit={submit}>
        <Field label={words.scheme}>
          {(id) => (
            <select id={id} value={scheme} onChange={(event) => set({ scheme: event.target.value })}>
              {purchases.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        </Field>
        <Field label={words.buyer}>
          {(id) => (
            <select id={id} value={wanted.buyerId} onChange={(event) => set({ buyerId: event.target.value })}>
              {buyers.map(([name, note]) => (
                <option key={name} value={name}>
                  {name} ({note})
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label={words.goods}>
          {(id) => (
            <select id={id} value={wanted.sku} onChange={(event) => set({ sku: event.target.value })}>
              {GOODS.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          )}
        </Field>
        <Field label={words.quantity}>
          {(id) => (
            <input
              id={id}
              type="number"
              min={1}
              max={1_000}
              value={wanted.quantity}
              onChange={(event) => set({ quantity: event.target.valueAsNumber })}
              required
            />
          )}
        </Field>
        <p className="actions">
          <button type="submit" className="main" disabled={isBusy}>
            {words.buyOne}
          </button>
          <button type="button" disabled={isBusy} onClick={() => start('/comparisons', purchase)}>
            {words.compareAll}
          </button>
        </p>
        <p className="quiet">{aboutScheme(scheme, language)}</p>
        <p className="quiet">{words.compareMeans}</p>
      </form>
      {problem && (
        <p role="alert" className="bad">
          {problem}
        </p>
      )}
      {job?.kind === 'comparison' && (
        <>
          <JobState job={job} title={words.compareAll} />
          <Comparison rows={(job.result as Compared[] | null) ?? []} />
        </>
      )}
      {job?.kind === 'purchase' && (
        <>
          <JobState job={job} />
          <Record lines={job.lines} />
          <Followed job={job} happenings={status?.happenings ?? []} />
        </>
      )}
    </>
  );
}

function Comparison({ rows }: { rows: Compared[] }) {
  const words = useLabWords();
  const longest = Math.max(1, ...rows.map(({ ms }) => ms));
  if (rows.length === 0) return null;
  return (
    <div className="scroll">
      <table className="dense comparison">
        <thead>
          <tr>
            <th scope="col">{words.scheme}</th>
            <th scope="col">{words.time}</th>
            <th scope="col">{words.commits}</th>
            <th scope="col">{words.messages}</th>
            <th scope="col">{words.outcome}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ scheme, orderId, ms, commits, messages, status, reason }) => (
            <tr key={scheme}>
              <td>
                <a href={`#/transaction/${encodeURIComponent(orderId)}`}>{scheme}</a>
              </td>
              <td>
                <meter aria-label={`${words.time} ${scheme}`} value={ms} max={longest} /> {ms} ms
              </td>
              <td>{commits}</td>
              <td>{messages}</td>
              <td>
                {status} {reason}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
