import type { QueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useWords } from '../i18n';
import { AlertsPage } from '../pages/alerts';
import { Overview } from '../pages/overview';
import { TransactionPage } from '../pages/transaction';
import { Transactions } from '../pages/transactions';
import { useRoute } from '../route';
import { Apps } from '../session';
import { Links, Shell } from '../shell';
import { SignInForm } from '../sign-in-form';
import { BreakPage } from './break-page';
import { BuyPage } from './buy-page';
import { Record } from './job-panel';
import { type LabSession, Session, signInToLab, useStatus } from './lab-session';
import type { LabApp } from './lab-types';
import { useLabWords } from './lab-words';
import { AuditPage, ScenarioPage } from './scenario-page';

/** The pages of the lab, with those of the console beside them. All calls go to the lab, which passes them on to the apps. */
export function Lab({ client }: { client: QueryClient }) {
  const [session, setSession] = useState<LabSession | null>(null);
  const signOut = () => {
    setSession(null);
    client.clear();
  };
  return (
    <Session.Provider value={session}>
      <Apps.Provider value={session?.apps ?? []}>
        <Shell navigation={session && <Navigation />} signOut={session ? signOut : null}>
          {session ? <PageOfRoute /> : <SignIn signedIn={setSession} />}
        </Shell>
      </Apps.Provider>
    </Session.Provider>
  );
}

function Navigation() {
  const [page] = useRoute();
  const words = { ...useWords(), ...useLabWords() };
  const links = ['buy', 'break', 'scenario', 'audit', 'overview', 'transactions', 'alerts'] as const;
  const { data: status, error } = useStatus();
  return (
    <>
      <Links label={words.lab} links={links.map((name) => ({ page: name, text: words[name] }))} current={page} />
      {error ? (
        <output className="bad">{words.noAnswer}</output>
      ) : (
        <output className="apps">
          {status?.apps.map((app) => (
            <AppState key={app.name} app={app} />
          ))}
        </output>
      )}
    </>
  );
}

function AppState({ app: { name, state, pids } }: { app: LabApp }) {
  const words = useLabWords();
  if (!state) return <span className="quiet">{name}</span>;
  const text = { up: words.up, dead: words.dead, stopped: words.stopped, starting: words.startingApp }[state];
  return (
    <span className={state === 'up' ? 'good' : state === 'starting' ? 'busy' : 'bad'}>
      {name}: {text} {pids.map((pid) => `#${pid}`).join(' ')}
    </span>
  );
}

function PageOfRoute() {
  const [page, id] = useRoute();
  const words = useLabWords();
  const { data: status } = useStatus();
  if (status && !status.isServing)
    return (
      <>
        <h2>{words.lab}</h2>
        <p role="status">{words.starting}</p>
        <Record lines={status.lines} />
      </>
    );
  if (page === 'break') return <BreakPage />;
  if (page === 'scenario') return <ScenarioPage />;
  if (page === 'audit') return <AuditPage />;
  if (page === 'overview') return <Overview />;
  if (page === 'transactions') return <Transactions />;
  if (page === 'transaction' && id) return <TransactionPage key={id} gid={id} />;
  if (page === 'alerts') return <AlertsPage />;
  return <BuyPage />;
}

function SignIn({ signedIn }: { signedIn: (session: LabSession) => void }) {
  const { lab: title, token, tokenHint } = useLabWords();
  const take = (given: string) => signInToLab(given).then(signedIn);
  return <SignInForm {...{ title, token, tokenHint }} signIn={take} />;
}
