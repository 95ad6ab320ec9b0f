import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { allTexts, englishPages, type Kind, sentencesOf, type Text } from './repository-texts.js';

/**
 * How the repository speaks. Each phrase has a committed count per kind of text, which may only fall. Lower the counts
 * after an edit with `PROSE=lower npx vitest run test/rules/prose.spec.ts`. A phrase that is 0 stays 0.
 */
const PHRASES: Record<string, RegExp> = {
  'what is/was/comes as a noun': /\bwhat(ever)? +(is|was|are|were|comes|came|has|had)\b/gi,
  'what must/can/follows as a noun':
    /\bwhat(ever)? +(must|may|can|cannot|could|will|would|became|becomes|follows|waits|ends|stands|gave|makes|lets)\b/gi,
  nobody: /\bnobody\b/gi,
  somebody: /\bsomebody\b/gi,
  whoever: /\bwhoever\b/gi,
  'is no': /\b(is|are|was|were) +no +(?!longer\b)/gi,
  'is away': /\b(is|are|was|were) +away\b/gi,
  'comes to': /\bcomes +to\b/gi,
  bears: /\bbears\b/gi,
  'is told': /\b(is|are|was|were) +told\b/gi,
  'should it ...': /(^|[,:.] +)should +(it|the|a|an|he|they|we|this|that)\b/gi,
  'for want of': /\bfor +want +of\b/gi,
  'has its way': /\bha(s|ve) +(its|their) +way\b/gi,
};
const WORDS_MAX = 25;
const SHOWN_MAX = 40;
const COUNTS = join(ROOT, 'test', 'rules', 'prose.counts.json');
const IS_LOWERING = process.env.PROSE === 'lower';

type Counts = Record<string, Record<Kind, number>>;
const allowed: Counts = JSON.parse(readFileSync(COUNTS, 'utf8'));
const texts = allTexts();
const kinds = Object.keys(texts) as Kind[];

/** A phrase may run over the end of a line: the break, and the mark of a comment, count as spaces. */
function occurrences(pieces: readonly Text[], phrase: RegExp): string[] {
  return pieces.flatMap(({ file, line, text }) => {
    const flat = text.replace(/\n\s*(\*(?!\/)|\/\/)?/g, (broken) => ' '.repeat(broken.length));
    return [...flat.matchAll(phrase)].map(({ index }) => {
      const before = text.slice(0, index).split('\n');
      const shown = text.split('\n')[before.length - 1]!.trim();
      return `${file}:${line + before.length - 1}  ${shown.slice(0, 140)}`;
    });
  });
}

const found = new Map(
  Object.entries(PHRASES).map(([name, phrase]) => [
    name,
    Object.fromEntries(kinds.map((kind) => [kind, occurrences(texts[kind], phrase)])) as Record<Kind, string[]>,
  ]),
);

if (IS_LOWERING) {
  for (const [name, byKind] of found) {
    const known = allowed[name];
    const lowered = kinds.map((kind) => [
      kind,
      Math.min(known?.[kind] ?? Number.POSITIVE_INFINITY, byKind[kind].length),
    ]);
    allowed[name] = Object.fromEntries(lowered) as Record<Kind, number>;
  }
  writeFileSync(COUNTS, `${JSON.stringify(allowed, null, 2)}\n`);
}

const rows = [...found].flatMap(([name, byKind]) => kinds.map((kind) => [name, kind, byKind[kind]] as const));

test.each(rows)('the phrase "%s" occurs in %s at most as often as its committed count', (name, kind, places) => {
  const most = allowed[name]?.[kind] ?? 0;
  const text = `${places.length} of "${name}" in ${kind}, ${most} allowed:\n${places.slice(0, SHOWN_MAX).join('\n')}`;
  expect(places.length, text).toBeLessThanOrEqual(most);
});

describe.each(englishPages())('the page %s', (file) => {
  const sentences = sentencesOf(file);

  test(`the page has no sentence of more than ${WORDS_MAX} words`, () => {
    const wordsOf = (text: string) => text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
    const long = sentences.filter(({ text }) => wordsOf(text) > WORDS_MAX);
    expect(long.map(({ line, text }) => `${file}:${line}  ${wordsOf(text)} words: ${text}`)).toEqual([]);
  });

  test('the page has no semicolon outside code', () => {
    const joined = sentences.filter(({ text }) => text.includes(';'));
    expect(joined.map(({ line, text }) => `${file}:${line}  ${text}`)).toEqual([]);
  });
});
