import { useEffect } from 'react';
import { AppApi, ownBase } from './api';
import { useWords } from './i18n';
import { SignInForm } from './sign-in-form';
import type { Topology } from './types';

/** Signs in to this app, and with the same token to those that it names. One that refuses it is shown without data. */
async function signIn(token: string): Promise<AppApi[]> {
  const { app, apps } = await new AppApi('', ownBase(), token).get<Topology>('/topology');
  const others = apps.map(({ name, url }) => new AppApi(name, url.replace(/\/$/, ''), token));
  return [new AppApi(app, ownBase(), token), ...others.filter(({ name }) => name !== app)];
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
