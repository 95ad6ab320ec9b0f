// A table for a terminal. Widths are counted in code points: good enough for ids, names and numbers.

/** @param {string[]} header @param {Array<Array<string | number>>} rows */
export function formatTable(header, rows) {
  const texts = rows.map((row) => row.map((cell) => String(cell ?? '')));
  const widths = header.map((title, column) => Math.max(...[title, ...texts.map((row) => row[column])].map(widthOf)));
  const line = (cells) =>
    cells
      .map((cell, column) => cell + ' '.repeat(widths[column] - widthOf(cell)))
      .join('  ')
      .trimEnd();
  return [line(header), widths.map((width) => '-'.repeat(width)).join('  '), ...texts.map(line)].join('\n');
}

const widthOf = (text) => [...text].length;
