import { beforeAll, describe, expect, it } from 'vitest';
import { compilerProblems } from './compiler-problems.js';

/** A source without an expected error must compile, so that the others fail for their own reason only. */
const PRELUDE = `
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Cancel, Confirm, Confirmed, defineParticipant, TccParticipant, Try, type TccBranch } from '../../libs/dtx/src/tcc/index.js';

const funds = defineParticipant({ name: 'payment.funds', version: 1, args: z.object({ buyer: z.string(), cents: z.int() }) });
const held = defineParticipant({ name: 'payment.held', version: 1, args: z.object({ cents: z.int() }), result: z.object({ hold: z.string() }) });
interface Funds { buyer: string; cents: number }
`;
const named = "@TccParticipant(funds, { try: 'freeze', confirm: 'capture', cancel: 'release' }) class A";
const confirmed =
  "@TccParticipant(funds, { try: 'freeze', confirm: 'capture', cancel: 'release', confirmed: 'tell' }) class A";
const withResult = "@TccParticipant(held, { try: 'freeze', confirm: 'capture', cancel: 'release' }) class A";
const others = 'capture(tx: EntityManager, args: Funds) {} release() {}';

/** Title, class, and the expected error if there is one. */
const sources: Array<[string, string, RegExp?]> = [
  ['with its three methods compiles', `${named} { freeze(tx: EntityManager, args: Funds) {} ${others} }`],
  [
    'with injected services, other methods and fewer arguments compiles',
    `${named} { constructor(private readonly db: Map<string, string>) {} async freeze(tx: EntityManager, { buyer }: { buyer: string }) { this.db.get(buyer); } ${others} more() {} }`,
  ],
  [
    'whose Confirm sees the result of Try compiles',
    `${named} { async freeze() { return { at: new Date(), n: 1 }; } capture(tx: EntityManager, args: Funds, { data }: TccBranch<{ at: string; n: number }>) { return data?.at; } release() {} }`,
  ],
  [
    'whose Try returns nothing compiles with a plain branch',
    `${named} { async freeze(): Promise<void> {} capture(tx: EntityManager, args: Funds, { gid }: TccBranch) { return gid; } release(tx: EntityManager, args: Funds, branch: TccBranch) {} }`,
  ],
  [
    'with a method after Confirm compiles',
    `${confirmed} { freeze() {} ${others} async tell({ buyer }: Funds, { gid }: TccBranch) { return buyer + gid; } }`,
  ],
  [
    'with a result as in its contract compiles',
    `${withResult} { async freeze() { return { hold: 'a' }; } capture(tx: EntityManager, args: { cents: number }, { data }: TccBranch<{ hold: string }>) { return data?.hold; } release() {} }`,
  ],
  [
    'without a method for Cancel is refused',
    `${named} { freeze() {} capture() {} }`,
    /Property 'release' is missing in type 'A'/,
  ],
  [
    'without a method for Try is refused',
    `${named} { capture() {} release() {} }`,
    /Property 'freeze' is missing in type 'A'/,
  ],
  [
    'without its method after Confirm is refused',
    `${confirmed} { freeze() {} ${others} }`,
    /Property 'tell' is missing in type 'A'/,
  ],
  [
    'with a private method is refused',
    `${named} { freeze() {} capture() {} private release() {} }`,
    /Property 'release' is private/,
  ],
  [
    'with another argument of Try is refused',
    `${named} { freeze(tx: EntityManager, args: { buyer: number }) {} ${others} }`,
    /Types of property 'buyer' are incompatible.*Type 'string' is not assignable to type 'number'/s,
  ],
  [
    'with an argument of Cancel that the contract does not have is refused',
    `${named} { freeze() {} capture() {} release(tx: EntityManager, args: { shelf: string }) {} }`,
    /Property 'shelf' is missing/,
  ],
  [
    'whose Confirm expects another result of Try is refused',
    `${named} { async freeze() { return { n: 1 }; } capture(tx: EntityManager, args: Funds, branch: TccBranch<{ n: string }>) {} release() {} }`,
    /Type 'number' is not assignable to type 'string'/,
  ],
  [
    'whose Confirm expects the Date that Try returned is refused',
    `${named} { async freeze() { return { at: new Date() }; } capture(tx: EntityManager, args: Funds, branch: TccBranch<{ at: Date }>) {} release() {} }`,
    /Type 'string' is not assignable to type 'Date'/,
  ],
  [
    'with another result than its contract is refused',
    `${withResult} { async freeze() { return { hold: 7 }; } capture() {} release() {} }`,
    /Type 'number' is not assignable to type 'string'/,
  ],
  [
    'that returns nothing from Try against its contract is refused',
    `${withResult} { async freeze() {} capture() {} release() {} }`,
    /Type 'Promise<void>' is not assignable to type .*hold: string/,
  ],
  [
    'with @Try, @Confirm and @Cancel compiles with and without the contract',
    '@TccParticipant(funds) class A { @Try() a(tx: EntityManager, args: Funds) {} @Confirm(funds) b(tx: EntityManager, args: Funds, branch: TccBranch<{ n: 1 }>) {} @Cancel(funds, { withoutTry: true }) c() {} @Confirmed(funds) d(args: Funds) {} } @TccParticipant(funds) class B { @Cancel({ withoutTry: true }) c(tx: EntityManager, args: Funds) {} }',
  ],
  [
    'with another argument at @Cancel(contract) is refused',
    '@TccParticipant(funds) class A { @Cancel(funds) c(tx: EntityManager, args: { buyer: number }) {} }',
    /Types of property 'buyer' are incompatible/,
  ],
  [
    'with another result at @Try(contract) is refused',
    '@TccParticipant(held) class A { @Try(held) a(): { hold: number } { return { hold: 1 }; } }',
    /Type 'number' is not assignable to type 'string'/,
  ],
  [
    'with another argument at @Confirmed(contract) is refused',
    '@TccParticipant(funds) class A { @Confirmed(funds) a(args: { buyer: number }) {} }',
    /Types of property 'buyer' are incompatible/,
  ],
];

let problems: string[][];

beforeAll(() => {
  problems = compilerProblems(sources.map(([, source]) => PRELUDE + source));
}, 120_000);

describe('a participant', () => {
  it.each(sources.map(([title, , error], index) => ({ title, error, index })))('$title', ({ error, index }) => {
    const found = problems[index]!;
    if (error === undefined) expect(found).toEqual([]);
    else expect(found).toEqual([expect.stringMatching(error)]);
  });
});
