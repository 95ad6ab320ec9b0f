/** Completes the paths of an API document: the calls of the library, and what every call with a path parameter answers. */
import { opsCalls } from 'nest-dtx';
import { type Operation, operationOf } from './openapi-ops-calls.js';
import { problems } from './openapi-problem.js';

export type Paths = Record<string, Record<string, Operation>>;

/** Answers to a path that never reaches a controller. */
const BAD_PATHS: Readonly<Record<number, string>> = {
  400: 'The path cannot be decoded, or a parameter is invalid',
  414: 'A path parameter is too long',
};

export function completed(paths: Paths): Paths {
  // The files of the console are for browsers.
  const all = Object.fromEntries(Object.entries(paths).filter(([path]) => !/^\/dtx\/console(\/|$)/.test(path)));
  for (const call of opsCalls)
    if (all[call.path])
      all[call.path] = { ...all[call.path], [call.method]: operationOf(call, all[call.path]![call.method]) };
  return Object.fromEntries(
    Object.entries(all).map(([path, calls]) => [
      path,
      Object.fromEntries(Object.entries(calls).map(([method, call]) => [method, withPath(path, call)])),
    ]),
  );
}

/** Adds missing path parameters, and the answers to paths that cannot be routed. */
function withPath(path: string, operation: Operation): Operation {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  if (names.length === 0) return operation;
  const { parameters = [], responses = {} } = operation;
  const missing = names.filter((name) => !parameters.some((one) => one.in === 'path' && one.name === name));
  const added = missing.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  return { ...operation, parameters: [...added, ...parameters], responses: { ...problems(BAD_PATHS), ...responses } };
}
