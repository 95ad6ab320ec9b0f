import { useEffect } from 'react';
import { AppApi, ownBase } from './api';
import { useWords } from './i18n';
import { SignInForm } from './sign-in-form';
import type { Topology } from './types';

/** An app that answers later is signed in to by its first calls. */
const OTHERS_LIMIT_MS = 3_000;

/**
 * Signs in to this app, and with the same token to those that it names. One that refuses it is asked once, and the console
 * then asks for its own token.
 */
async function signIn(token: string): Promise<AppApi[]> {
  const { app, apps } = await new AppApi(location.host, ownBase(), token).get<Topology>('/topology');
  const others = apps
    .filter(({ name }) => name !== app)
    .map(({ name, url }) => new AppApi(name, url.replace(/\/$/, ''), token));
  const asked = Promise.allSettled(others.map((api) => api.get('/topology')));
  await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, OTHERS_LIMIT_MS))]);
  return [new AppApi(app, ownBase(), token), ...others];
}

export function SignIn({ signedIn }: { signedIn: (apps: AppApi[]) => void }) {
  const words = useWords();
  // A guard of the app may let the user in without a token.
  useEffect(() => {
    signIn('').then(signedIn, () => {});
  }, [signedIn]);
  const { signIn: title, token, tokenHint } = words;
  const take = (given: string) => signIn(given).then(signedIn);
  return <SignInForm {...{ title, token, tokenHint }} signIn={take} />;
}
