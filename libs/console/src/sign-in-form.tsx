import { type FormEvent, useState } from 'react';
import { CallFailed } from './api';
import { useWords } from './i18n';
import { problemText } from './problem-text';

interface Asked {
  readonly title: string;
  /** The name of the token, and where to find it. */
  readonly token: string;
  readonly tokenHint: string;
  /** Rejects a wrong token, and then the form stays. */
  readonly signIn: (token: string) => Promise<void>;
}

export function SignInForm({ title, token: label, tokenHint, signIn }: Asked) {
  const words = useWords();
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  const textOf = (error: unknown): string => {
    const status = error instanceof CallFailed ? error.status : 0;
    if (status === 401 || status === 403) return words.wrongToken;
    return status === 429 ? words.tooMany : problemText(error, words);
  };
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get('token') ?? '').trim();
    setBusy(true);
    setProblem('');
    await signIn(token).catch((error) => setProblem(textOf(error)));
    setBusy(false);
  };
  return (
    <form className="sign-in" onSubmit={submit}>
      <h2>{title}</h2>
      <label>
        {label}
        <input name="token" type="password" autoComplete="off" required />
      </label>
      <p className="quiet">{tokenHint}</p>
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
