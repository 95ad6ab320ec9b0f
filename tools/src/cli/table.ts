// A table for a terminal. Widths are counted in code points, which is good enough for ids, names and numbers.

export type Cell = string | number | null | undefined;

export function formatTable(header: readonly string[], rows: ReadonlyArray<readonly Cell[]>): string {
  const texts = rows.map((row) => row.map((cell) => String(cell ?? '')));
  const widths = header.map((title, column) =>
    Math.max(...[title, ...texts.map((row) => row[column] ?? '')].map(widthOf)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))))
      .join('  ')
      .trimEnd();
  return [line(header), widths.map((width) => '-'.repeat(width)).join('  '), ...texts.map(line)].join('\n');
}

const widthOf = (text: string) => [...text].length;
