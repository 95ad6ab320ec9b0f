import type { QueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { AppApi } from './api';
import { firstLanguage, type Language, LanguageContext, languages, useWords } from './i18n';
import { useLive } from './live';
import { AlertsPage } from './pages/alerts';
import { Overview } from './pages/overview';
import { TransactionPage } from './pages/transaction';
import { Transactions } from './pages/transactions';
import { Apps } from './session';
import { SignIn } from './sign-in';

const PAGES = ['overview', 'transactions', 'alerts'] as const;

/** A hash that cannot be decoded is the first page. */
function routeNow(): string[] {
  try {
    return location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch {
    return [''];
  }
}

/** The place after `#/`. Ids of transactions may be there, the token never is. */
function useRoute(): string[] {
  const [route, setRoute] = useState(routeNow);
  useEffect(() => {
    const change = () => setRoute(routeNow());
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  return route;
}

export function Console({ client }: { client: QueryClient }) {
  const [language, setLanguage] = useState<Language>(firstLanguage);
  const [apps, setApps] = useState<readonly AppApi[]>([]);
  const words = languages[language];
  useEffect(() => {
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  }, [language]);
  const signOut = () => {
    setApps([]);
    client.clear();
  };
  return (
    <LanguageContext.Provider value={language}>
      <Apps.Provider value={apps}>
        <button type="button" className="skip" onClick={focusContent}>
          {words.skip}
        </button>
        <header>
          <h1>{words.title}</h1>
          {apps.length > 0 && <Navigation apps={apps} client={client} />}
          <label>
            <span className="quiet">{words.language}</span>{' '}
            <select value={language} onChange={(event) => setLanguage(event.target.value as Language)}>
              <option value="en">English</option>
              <option value="zh">中文</option>
            </select>
          </label>
          {apps.length > 0 && (
            <button type="button" onClick={signOut}>
              {words.signOut}
            </button>
          )}
        </header>
        <main id="content" tabIndex={-1}>
          {apps.length === 0 ? <SignIn signedIn={setApps} /> : <PageOfRoute />}
        </main>
      </Apps.Provider>
    </LanguageContext.Provider>
  );
}

/** A link would replace the hash, which names the page. */
function focusContent(): void {
  document.getElementById('content')?.focus();
}

function Navigation({ apps, client }: { apps: readonly AppApi[]; client: QueryClient }) {
  const [page] = useRoute();
  const words = useWords();
  const up = useLive(apps, client);
  return (
    <>
      <nav aria-label={words.title}>
        {PAGES.map((name) => (
          <a
            key={name}
            href={`#/${name}`}
            aria-current={page === name || (page === '' && name === 'overview') ? 'page' : undefined}
          >
            {words[name]}
          </a>
        ))}
      </nav>
      <output className="apps">
        {apps.map(({ name }) => (
          <span key={name} className={up.has(name) ? 'good' : 'bad'}>
            {name}: {up.has(name) ? words.live : words.reconnecting}
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
