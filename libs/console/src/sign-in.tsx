import { type FormEvent, useEffect, useState } from 'react';
import { AppApi, CallFailed, ownBase } from './api';
import { useWords } from './i18n';
import type { Topology } from './types';

/** Signs in to this app, and with the same token to those that it names. One that refuses it is shown without data. */
async function signIn(token: string): Promise<AppApi[]> {
  const { app, apps } = await new AppApi('', ownBase(), token).get<Topology>('/topology');
  const others = apps.map(({ name, url }) => new AppApi(name, url.replace(/\/$/, ''), token));
  return [new AppApi(app, ownBase(), token), ...others.filter(({ name }) => name !== app)];
}

export function SignIn({ signedIn }: { signedIn: (apps: AppApi[]) => void }) {
  const words = useWords();
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  // A guard of the app may let the user in without a token.
  useEffect(() => {
    signIn('').then(signedIn, () => {});
  }, [signedIn]);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get('token') ?? '').trim();
    setBusy(true);
    setProblem('');
    try {
      signedIn(await signIn(token));
    } catch (error) {
      const status = error instanceof CallFailed ? error.status : 0;
      setProblem(
        status === 401 || status === 403
          ? words.wrongToken
          : status === 429
            ? words.tooMany
            : String((error as Error).message),
      );
    }
    setBusy(false);
  };
  return (
    <form className="sign-in" onSubmit={submit}>
      <h2>{words.signIn}</h2>
      <label>
        {words.token}
        <input name="token" type="password" autoComplete="off" required />
      </label>
      <p className="quiet">{words.tokenHint}</p>
      {problem && (
        <p role="alert" className="bad">
          {problem}
        </p>
      )}
      <button type="submit" className="main" disabled={isBusy}>
        {words.signIn}
      </button>
    </form>
  );
}
