import { useEffect, useState } from 'react';
import { AppApi } from './api';
import { useWords } from './i18n';
import { SignInForm } from './sign-in-form';
import type { Topology } from './types';

/** Asks for the token of each app that has refused the present one. */
export function SignInAgain({ apps, signedIn }: { apps: readonly AppApi[]; signedIn: (api: AppApi) => void }) {
  const words = useWords();
  const [, setRefusals] = useState(0);
  useEffect(() => {
    const left = new AbortController();
    for (const { refused } of apps)
      refused.addEventListener('abort', () => setRefusals((before) => before + 1), { signal: left.signal });
    return () => left.abort();
  }, [apps]);
  const take = async ({ name, base }: AppApi, token: string) => {
    const api = new AppApi(name, base, token);
    await api.get<Topology>('/topology');
    signedIn(api);
  };
  return apps
    .filter(({ refused }) => refused.aborted)
    .map((api) => (
      <details key={api.name} className="card">
        <summary className="bad">
          {api.name}: {words.tokenRefused}
        </summary>
        <SignInForm
          title={`${words.signIn}: ${api.name}`}
          token={words.token}
          tokenHint={words.tokenHint}
          signIn={(token) => take(api, token)}
        />
      </details>
    ));
}
