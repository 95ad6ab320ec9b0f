// Charts as SVG text. Without a background, with colours that can be read on a light and on a dark one.

export interface Series {
  readonly name: string;
  readonly values: ReadonlyArray<number | null>;
}
export interface Chart {
  readonly title: string;
  /** Of the values. */
  readonly unit: string;
  /** One label for each value of a series. */
  readonly labels: readonly string[];
  readonly series: readonly Series[];
}

const COLOURS = ['#8b949e', '#57606a', '#2f81f7', '#2ea043', '#d29922', '#a371f7', '#db61a2'];
const [WIDTH, HEIGHT] = [760, 320];
const PLOT = { left: 60, right: 16, top: 56, bottom: 36 };
const PLOT_HEIGHT = HEIGHT - PLOT.top - PLOT.bottom;
const PLOT_WIDTH = WIDTH - PLOT.left - PLOT.right;
const LINES = 4;
const BAR_SHARE = 0.84;

/** A group of bars for each label, one bar for each series. */
export function barChart({ title, unit, labels, series }: Chart): string {
  const top = roundUp(Math.max(1, ...series.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const y = (value: number) => PLOT.top + PLOT_HEIGHT * (1 - value / top);
  const groupWidth = PLOT_WIDTH / labels.length;
  const barWidth = (groupWidth * BAR_SHARE) / series.length;
  const bars = labels.flatMap((_, group) =>
    series.map(({ values }, one) => {
      const value = values[group] ?? null;
      if (value === null) return '';
      const x = PLOT.left + group * groupWidth + (groupWidth * (1 - BAR_SHARE)) / 2 + one * barWidth;
      const [at, middle] = [y(value), x + barWidth / 2];
      return (
        `<rect x="${px(x + 1)}" y="${px(at)}" width="${px(barWidth - 2)}" height="${px(y(0) - at)}" fill="${colourOf(one)}"/>` +
        `<text class="value" x="${px(middle)}" y="${px(at - 4)}" text-anchor="middle">${shown(value)}</text>`
      );
    }),
  );
  const names = labels.map(
    (label, group) =>
      `<text x="${px(PLOT.left + (group + 0.5) * groupWidth)}" y="${HEIGHT - 14}" text-anchor="middle">${textOf(label)}</text>`,
  );
  return svg(`${title}, ${unit}`, [legend(series), ...grid(top, y), ...bars, ...names]);
}

function svg(title: string, parts: readonly string[]): string {
  const style =
    'text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:14px;font-weight:600}.value{font-size:10px}' +
    'line{stroke:#8b949e;stroke-opacity:.35}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}';
  const body = [`<title>${textOf(title)}</title>`, heading(title), ...parts].filter(Boolean).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${textOf(title)}"><style>${style}</style>\n${body}\n</svg>\n`;
}

const heading = (text: string) => `<text class="title" x="8" y="20">${textOf(text)}</text>`;

function legend(series: readonly Series[]): string {
  const step = (WIDTH - 16) / Math.max(series.length, 1);
  return series
    .map(({ name }, one) => {
      const x = 8 + one * Math.min(step, 140);
      return `<rect x="${px(x)}" y="31" width="10" height="10" fill="${colourOf(one)}"/><text x="${px(x + 15)}" y="40">${textOf(name)}</text>`;
    })
    .join('\n');
}

function grid(top: number, y: (value: number) => number): string[] {
  return Array.from({ length: LINES + 1 }, (_, line) => {
    const value = (top * line) / LINES;
    return (
      `<line x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${px(y(value))}" y2="${px(y(value))}"/>` +
      `<text x="${PLOT.left - 6}" y="${px(y(value) + 4)}" text-anchor="end">${shown(value)}</text>`
    );
  });
}

const colourOf = (series: number) => COLOURS[series % COLOURS.length]!;
const px = (number: number) => number.toFixed(1);
const shown = (value: number) => (value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1));
const textOf = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** The next of 1, 2, 2.5, 4, 5, 8 and 10 times a power of ten: the lines of the grid then have round values. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 4, 5, 8, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}
