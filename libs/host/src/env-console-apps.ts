/** The apps that the console shows together, from the environment. */
import { z } from 'zod';

const EXPECTED = 'must be a list of name=URL of /dtx, separated by commas, like payment=http://127.0.0.1:3002/dtx';

/** An app as the console names it, and the URL of its operations API. */
export interface ConsoleApp {
  readonly name: string;
  readonly url: string;
}

export const consoleApps = z
  .string()
  .max(4_096, EXPECTED)
  .transform((text) =>
    text
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean)
      .map((entry): ConsoleApp => {
        const [name = '', ...url] = entry.split('=');
        return { name, url: url.join('=') };
      }),
  )
  .refine((apps) => apps.every(isApp), EXPECTED);

function isApp({ name, url }: ConsoleApp): boolean {
  if (!/^[\w.-]{1,64}$/.test(name) || !URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  return /^https?:$/.test(protocol) && username === '' && password === '';
}

/** The consoles of all these apps may call each other. */
export function originsOf(apps: readonly ConsoleApp[]): string[] {
  return [...new Set(apps.map(({ url }) => new URL(url).origin))];
}
