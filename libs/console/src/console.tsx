import type { QueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import type { AppApi } from './api';
import { useWords } from './i18n';
import { useLive } from './live';
import { AlertsPage } from './pages/alerts';
import { Overview } from './pages/overview';
import { TransactionPage } from './pages/transaction';
import { Transactions } from './pages/transactions';
import { useRoute } from './route';
import { Apps } from './session';
import { Links, Shell } from './shell';
import { SignIn } from './sign-in';
import { SignInAgain } from './sign-in-again';

const PAGES = ['overview', 'transactions', 'alerts'] as const;

export function Console({ client }: { client: QueryClient }) {
  const [apps, setApps] = useState<readonly AppApi[]>([]);
  const isSignedIn = apps.length > 0;
  const signOut = () => {
    setApps([]);
    client.clear();
  };
  // The events of the app begin anew, and then its data is read.
  const replace = (api: AppApi) => setApps((before) => before.map((one) => (one.name === api.name ? api : one)));
  return (
    <Apps.Provider value={apps}>
      <Shell
        navigation={isSignedIn && <Navigation apps={apps} client={client} />}
        signOut={isSignedIn ? signOut : null}
      >
        {isSignedIn ? (
          <>
            <SignInAgain apps={apps} signedIn={replace} />
            <PageOfRoute />
          </>
        ) : (
          <SignIn signedIn={setApps} />
        )}
      </Shell>
    </Apps.Provider>
  );
}

function Navigation({ apps, client }: { apps: readonly AppApi[]; client: QueryClient }) {
  const [page] = useRoute();
  const words = useWords();
  const up = useLive(apps, client);
  return (
    <>
      <Links label={words.title} links={PAGES.map((name) => ({ page: name, text: words[name] }))} current={page} />
      <output className="apps">
        {apps.map(({ name, refused }) => (
          <span key={name} className={up.has(name) ? 'good' : 'bad'}>
            {name}: {up.has(name) ? words.live : refused.aborted ? words.signedOut : words.reconnecting}
          </span>
        ))}
      </output>
    </>
  );
}

function PageOfRoute() {
  const [page, id] = useRoute();
  if (page === 'transactions') return <Transactions />;
  if (page === 'transaction' && id) return <TransactionPage key={id} gid={id} />;
  if (page === 'alerts') return <AlertsPage />;
  return <Overview />;
}
