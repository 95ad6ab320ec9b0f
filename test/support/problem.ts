import { expect } from 'vitest';

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: Array<{ field: string; why: string }>;
  orderId?: string;
  reason?: string;
}

interface Answered {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Headers | Record<string, string>;
}

/** Every error is RFC 9457 problem details; a 400 says which field and why. Returns the problem for a closer look. */
export function expectProblem(answer: Answered, status: number, field?: string): Problem {
  const problem = answer.body as Problem;
  expect(answer.status, JSON.stringify(problem)).toBe(status);
  expect(headerOf(answer, 'content-type')).toMatch(/^application\/problem\+json(;|$)/);
  expect(problem).toEqual(
    expect.objectContaining({
      type: expect.stringMatching(/^(about:blank|urn:|https?:)/),
      title: expect.stringMatching(/./),
      status,
      detail: expect.stringMatching(/./),
    }),
  );
  if (field === 'body' && !problem.errors) expect(problem.detail).toMatch(/body/i);
  else if (field) {
    expect(problem.errors?.map((error) => error.field)).toContain(field);
    expect(problem.errors?.filter(({ why }) => why.length < 3)).toEqual([]);
    expect(problem.detail).toContain(field);
  }
  expect(JSON.stringify(problem)).not.toMatch(/\bat \S+ \(|node_modules|ER_|SELECT |INSERT /);
  return problem;
}

export function headerOf({ headers }: Pick<Answered, 'headers'>, name: string): string | null {
  return headers instanceof Headers ? headers.get(name) : (headers[name] ?? null);
}
