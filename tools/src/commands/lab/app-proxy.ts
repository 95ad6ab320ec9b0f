// Passes calls of the page to `/dtx` of an app, with the admin token of the demo. So one sign-in is enough for the lab and for
// the pages of the console in it, and the admin token never reaches the browser.
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { codeOf } from '../../cli/error-text.js';
import { type App, DATABASES } from '../../servers/server-set.js';
import type { Urls } from '../../shop/purchase.js';
import { LabError } from './lab-error.js';

const PATH = /^\/apps\/([a-z]+)(\/dtx\/.*)$/;
const LIMIT_MS = 15_000;
const REQUEST_HEADERS = ['content-type', 'dtx-operator', 'accept'];
const ANSWER_HEADERS = ['content-type', 'retry-after'];

const picked = (headers: IncomingMessage['headers'], names: readonly string[]) =>
  Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])));

/** The app and the path of a call to pass on, or null for another path. */
export function proxiedPath({ pathname, search }: URL): { app: App; path: string } | null {
  const [, name, path] = PATH.exec(pathname) ?? [];
  const app = DATABASES.find((one) => one === name);
  return app && path ? { app, path: path + search } : null;
}

/** @throws LabError if the app does not answer, as while it is dead */
export function passOn(
  { app, path }: { app: App; path: string },
  from: { request: IncomingMessage; response: ServerResponse },
  { urls, adminToken }: { urls: Urls; adminToken: string },
): Promise<void> {
  const { method } = from.request;
  if (method !== 'GET' && method !== 'POST') throw new LabError(405, 'only GET and POST are passed on');
  return new Promise((resolve, reject) => {
    const headers = { ...picked(from.request.headers, REQUEST_HEADERS), authorization: `Bearer ${adminToken}` };
    const onward = request(`${urls[app]}${path}`, { method, headers, agent: false, timeout: LIMIT_MS }, (answer) => {
      from.response.writeHead(answer.statusCode ?? 502, {
        ...picked(answer.headers, ANSWER_HEADERS),
        'cache-control': 'no-store',
      });
      answer.pipe(from.response).on('close', resolve);
      answer.on('error', () => from.response.destroy()); // the app died in the middle of its answer
    });
    onward.on('timeout', () => onward.destroy(new Error('no answer in time')));
    onward.on('error', (error) =>
      reject(new LabError(502, `the ${app} app does not answer (${codeOf(error) ?? error.message})`)),
    );
    from.response.on('close', () => onward.destroy());
    from.request.pipe(onward);
  });
}
