import { z } from 'zod';
import { confirmedPublishOptions } from '../../libs/dtx/src/confirmed-publish/options.js';
import { coreOptions } from '../../libs/dtx/src/core/options.js';
import { halfMessageOptions } from '../../libs/dtx/src/half-message/options.js';
import { localMessageOptions } from '../../libs/dtx/src/local-message/options.js';
import { notifyOptions } from '../../libs/dtx/src/notify/options.js';
import { opsOptions } from '../../libs/dtx/src/ops/options.js';
import { sagaOptions } from '../../libs/dtx/src/saga/options.js';
import { tccOptions } from '../../libs/dtx/src/tcc/options.js';
import { xaOptions } from '../../libs/dtx/src/xa/options.js';
import { docsOf, inWords } from '../../scripts/option-docs.mjs';
import { read } from './repository-texts.js';

/** Writes docs/configuration.md: names, limits and defaults from the schemas, the meaning from the doc comments. */
interface Section {
  readonly title: string;
  readonly key: string;
  readonly folder: string;
  readonly schema: z.ZodType;
}

const SECTIONS: Section[] = [
  { title: '`DtxModule.forRoot`', key: 'core', folder: 'core', schema: coreOptions },
  { title: '`LocalMessageModule.forRoot`', key: 'localMessage', folder: 'local-message', schema: localMessageOptions },
  { title: '`XaModule.forRoot`', key: 'xa', folder: 'xa', schema: xaOptions },
  { title: '`TccModule.forRoot`', key: 'tcc', folder: 'tcc', schema: tccOptions },
  { title: '`SagaModule.forRoot`', key: 'saga', folder: 'saga', schema: sagaOptions },
  { title: '`HalfMessageModule.forRoot`', key: 'halfMessage', folder: 'half-message', schema: halfMessageOptions },
  {
    title: '`ConfirmedPublishModule.forRoot`',
    key: 'reliableMessage',
    folder: 'confirmed-publish',
    schema: confirmedPublishOptions,
  },
  { title: '`NotifyModule.forRoot`', key: 'notify', folder: 'notify', schema: notifyOptions },
  { title: '`OpsModule.forRoot`', key: 'ops', folder: 'ops', schema: opsOptions },
];

const HEAD = `# Configuration

<!-- Generated from the option schemas. Write it anew with: npx vitest run test/rules/configuration-page.spec.ts -u -->

Every option of every module, with its limits and its default. A wrong option stops the start with one line that names it.

- Times are in milliseconds, unless the name ends in \`Seconds\`.
- A backoff is \`{ firstMs, factor, capMs }\`. The actual waits have jitter.
- The demo apps read the same options from \`DTX_OPTIONS\`, a JSON object with one section per module.
  Options that have an environment variable of their own are not accepted there.
- \`XaModule.forRoot\` also takes \`branches\`, the other databases by name. See [schemes/xa.md](schemes/xa.md).
`;

type Json = Record<string, unknown> & { properties?: Record<string, Json>; items?: Json; enum?: unknown[] };

export function configurationPage(): string {
  const sections = SECTIONS.map((section) => {
    const { properties = {} } = z.toJSONSchema(section.schema, { io: 'input', unrepresentable: 'any' }) as Json;
    const docs = docsOf(read(`libs/dtx/src/${section.folder}/options.ts`));
    const rows = Object.entries(properties).flatMap(([name, json]) => rowsOf(name, json, docs));
    const source = `[libs/dtx/src/${section.folder}/options.ts](../libs/dtx/src/${section.folder}/options.ts)`;
    const table = ['| option | value | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
    return `## ${section.title}\n\nSection \`${section.key}\` of \`DTX_OPTIONS\`. Source: ${source}.\n\n${table}\n`;
  });
  return [HEAD, ...sections].join('\n');
}

function rowsOf(name: string, json: Json, docs: ReadonlyMap<string, string>): string[] {
  const isGroup = json.properties !== undefined && !('firstMs' in json.properties);
  if (isGroup) return Object.entries(json.properties!).flatMap(([key, one]) => rowsOf(`${name}.${key}`, one, docs));
  const meaning = docs.get(name);
  if (meaning === undefined) throw new Error(`${name} has no doc comment`);
  return [`| \`${name}\` | ${limitsOf(json)} | ${defaultOf(name, json)} | ${meaning.replaceAll('|', '\\|')} |`];
}

function limitsOf(json: Json): string {
  if (json.properties && 'firstMs' in json.properties) return 'backoff';
  if (json.enum) return json.enum.map((one) => `\`${one}\``).join(' or ');
  if (json.type === 'array') return `list of ${pluralOf(json.items)}`;
  if (json.type === 'integer' || json.type === 'number') return rangeOf(json);
  if (typeof json.pattern === 'string') return `text, \`${json.pattern}\``;
  if (json.type === undefined && !json.anyOf) return 'object';
  return json.type === 'boolean' ? '`true` or `false`' : 'text';
}

/** A reader never meets a limit of the timers or of whole numbers, so it is left out. */
function rangeOf({ minimum, maximum }: Json): string {
  return Number(maximum) >= TIMER_MAX ? `${minimum} or more` : `${minimum} to ${maximum}`;
}
const TIMER_MAX = 2_147_483_647;

function pluralOf(items: Json | undefined): string {
  if (items?.type === 'integer') return rangeOf(items);
  return items?.type === 'string' ? 'texts' : 'objects';
}

function defaultOf(name: string, json: Json): string {
  if (json.properties) {
    const parts = Object.entries(json.properties).map(([key, one]) => `${key}: ${one.default}`);
    return `\`{ ${parts.join(', ')} }\``;
  }
  if (json.default === undefined) return '-';
  const isTime = /Ms$/.test(name) && typeof json.default === 'number';
  return `\`${JSON.stringify(json.default).replaceAll(',', ', ')}\`${isTime ? inWords(json.default as number) : ''}`;
}
