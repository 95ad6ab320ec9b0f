import { JobState, Record } from './job-panel';
import { useStart, useStatus } from './lab-session';
import type { AuditReport, ScenarioResult } from './lab-types';
import { useLabWords } from './lab-words';

export function ScenarioPage() {
  const words = useLabWords();
  const { job, isBusy, start, problem } = useWork();
  const result = job?.kind === 'scenario' ? (job.result as ScenarioResult | null) : null;
  return (
    <>
      <h2>{words.scenario}</h2>
      <p>{words.scenarioMeans}</p>
      <Go text={words.runScenario} isBusy={isBusy} go={() => start('/scenarios')} problem={problem} />
      {job?.kind === 'scenario' && <JobState job={job} />}
      {result && job?.state === 'done' && (
        <p role="status" className={result.asExpected ? 'good' : 'bad'}>
          {result.asExpected ? words.asExpected : words.notAsExpected}
        </p>
      )}
      {result && result.rows.length > 0 && <Purchases rows={result.rows} />}
    </>
  );
}

function Purchases({ rows }: { rows: ScenarioResult['rows'] }) {
  const words = useLabWords();
  return (
    <div className="scroll">
      <table className="dense">
        <thead>
          <tr>
            <th scope="col">{words.scheme}</th>
            <th scope="col">{words.buyer}</th>
            <th scope="col">{words.goods}</th>
            <th scope="col">{words.outcome}</th>
            <th scope="col">{words.time}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.orderId}>
              <td>
                <a href={`#/transaction/${encodeURIComponent(row.orderId)}`}>{row.scheme}</a>
              </td>
              <td>{row.buyerId}</td>
              <td>
                {row.quantity} x {row.sku}
              </td>
              <td className={row.asExpected ? undefined : 'bad'}>
                {row.status} {row.reason}
              </td>
              <td>{row.ms} ms</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function AuditPage() {
  const words = useLabWords();
  const { job, isBusy, start, problem } = useWork();
  const report = job?.kind === 'audit' ? (job.result as AuditReport | null) : null;
  return (
    <>
      <h2>{words.audit}</h2>
      <p>{words.auditMeans}</p>
      <Go text={words.runAudit} isBusy={isBusy} go={() => start('/audits')} problem={problem} />
      {job?.kind === 'audit' && <JobState job={job} />}
      {job?.kind === 'audit' && job.state === 'running' && <Record lines={job.lines} />}
      {report && <Report report={report} />}
    </>
  );
}

function Report({ report: { checks, parked, nothing, ok } }: { report: AuditReport }) {
  const words = useLabWords();
  const verdict = nothing ? words.nothingToAudit : ok ? words.allHold : words.notAllHold;
  return (
    <>
      <p role="status">
        <b className={ok ? 'good' : 'bad'}>{verdict}</b>
      </p>
      <div className="scroll">
        <table className="dense">
          <thead>
            <tr>
              <th scope="col">{words.check}</th>
              <th scope="col">{words.outcome}</th>
              <th scope="col">{words.figures}</th>
            </tr>
          </thead>
          <tbody>
            {checks.map((check) => (
              <tr key={check.name}>
                <td>{check.name}</td>
                <td className={check.ok ? 'good' : 'bad'}>{check.ok ? words.holds : words.broken}</td>
                <td className="error">
                  {Object.entries(check.figures)
                    .map(([name, value]) => `${name} ${value}`)
                    .join(', ')}
                  {check.violations.slice(0, 20).map((line) => `\n${line}`)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {parked.length > 0 && (
        <p>
          <a href="#/alerts">
            {words.parkedRows}: {parked.length}
          </a>
        </p>
      )}
    </>
  );
}

function useWork() {
  const { data: status } = useStatus();
  const job = status?.job ?? null;
  return { job, isBusy: !status?.isServing || job?.state === 'running', ...useStart() };
}

function Go({ text, isBusy, go, problem }: { text: string; isBusy: boolean; go: () => void; problem: string }) {
  return (
    <>
      <p className="actions">
        <button type="button" className="main" disabled={isBusy} onClick={go}>
          {text}
        </button>
      </p>
      {problem && (
        <p role="alert" className="bad">
          {problem}
        </p>
      )}
    </>
  );
}
