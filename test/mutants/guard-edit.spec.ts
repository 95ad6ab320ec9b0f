import { describe, expect, test } from 'vitest';
import { GUARDED, markersIn, mutate } from './guard-edit.js';

describe('an edit', () => {
  const text =
    'f();\n// another comment\n// guard: a.ack\ndelivery.ack();\ng({\n  // guard: a.first\n  first,\n  last,\n});\n';

  test('takes the statement after its marker out', () => {
    expect(mutate(text, { guard: 'a.ack', becomes: '' })).toBe(text.replace('delivery.ack();', ''));
  });

  test('takes a property out together with its comma', () => {
    expect(mutate(text, { guard: 'a.first', becomes: '' })).toBe(text.replace('first,', ''));
  });

  test('writes its code literally and keeps the guarded code where it is named', () => {
    const becomes = `$& $1 $$; ${GUARDED} ${GUARDED}`;
    expect(mutate(text, { guard: 'a.ack', becomes })).toContain('\n$& $1 $$; delivery.ack(); delivery.ack();\n');
  });

  test('changes the condition of an if and keeps its body', () => {
    const guarded = '// guard: b\nif (a && f(b)) {\n  c();\n}\n';
    expect(mutate(guarded, { guard: 'b', condition: 'false' })).toBe('// guard: b\nif (false) {\n  c();\n}\n');
  });

  test('swaps one word of the guarded code', () => {
    expect(mutate(text, { guard: 'a.ack', swap: ['ack', 'nack'] })).toContain('delivery.nack();');
  });

  test('names an import as CommonJS code does', () => {
    const built =
      "const ids_js_1 = require('./ids.js');\nexports.NOW = 1;\n// guard: a\nuse((0, ids_js_1.newId)(), exports.NOW);\n";
    const becomes = `const own = { newId: newId(), at: NOW, text: 'NOW' }; ${GUARDED}`;
    expect(mutate(built, { guard: 'a', becomes })).toContain(
      "const own = { newId: ids_js_1.newId(), at: exports.NOW, text: 'NOW' }; use((0, ids_js_1.newId)(), exports.NOW);",
    );
    expect(mutate(`${built}// guard: b\nif (a) f();\n`, { guard: 'b', condition: '!NOW' })).toContain(
      'if (!exports.NOW)',
    );
  });

  test.each([
    ['whose marker is missing', { guard: 'a', becomes: '' }, 'guard a is marked 0 times'],
    [
      'of a condition on another statement',
      { guard: 'a.ack', condition: 'true' },
      'guard a.ack is not on an if statement',
    ],
    ['whose word is missing', { guard: 'a.ack', swap: ['nack', ''] }, 'guard a.ack holds 0 places'],
    ['whose word is there twice', { guard: 'a.ack', swap: ['e', ''] }, 'guard a.ack holds 2 places'],
  ] as const)('%s is refused', (_, edit, error) => {
    expect(() => mutate(text, edit)).toThrow(error);
  });

  test('whose marker stands before no code is refused', () => {
    expect(() => mutate('f(); // end\n// guard: a\n', { guard: 'a', becomes: '' })).toThrow(
      'stands before no statement',
    );
  });

  test('whose marker is in two files is refused', () => {
    const files = [
      ['one.js', '// guard: a\nf();'],
      ['other.js', '  // guard: a\n  g();'],
    ] as const;
    expect(() => markersIn(files)).toThrow('guard a is marked twice: in one.js and in other.js');
  });
});
