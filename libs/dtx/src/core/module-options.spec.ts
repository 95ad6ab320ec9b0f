import type { ForwardReference } from '@nestjs/common';
import { describe, expect, test } from 'vitest';
import { ConfirmedPublishModule } from '../confirmed-publish/index.js';
import { HalfMessageModule } from '../half-message/index.js';
import { LocalMessageModule } from '../local-message/index.js';
import { NotifyModule } from '../notify/index.js';
import { OpsModule } from '../ops/index.js';
import { TccModule } from '../tcc/index.js';
import { XaModule } from '../xa/index.js';
import { DtxModule } from './dtx.module.js';
import { OptionsError } from './errors/errors.js';
import { type AsyncModuleOptions, GIVEN_OPTIONS } from './module-options.js';

const CORE = { app: 'order', rabbitmqUrl: 'amqp://localhost' };
const NOTIFY = { service: 'payment' };
const OPS = { adminToken: 'secret' };

/** Every module with both of its methods, and options that it accepts. */
const MODULES = [
  ['DtxModule', DtxModule.forRoot, DtxModule.forRootAsync, CORE],
  ['LocalMessageModule', LocalMessageModule.forRoot, LocalMessageModule.forRootAsync, {}],
  ['HalfMessageModule', HalfMessageModule.forRoot, HalfMessageModule.forRootAsync, {}],
  ['ConfirmedPublishModule', ConfirmedPublishModule.forRoot, ConfirmedPublishModule.forRootAsync, {}],
  ['TccModule', TccModule.forRoot, TccModule.forRootAsync, {}],
  ['XaModule', XaModule.forRoot, XaModule.forRootAsync, {}],
  ['NotifyModule.forService', NotifyModule.forService, NotifyModule.forServiceAsync, NOTIFY],
  ['NotifyModule.forPublisher', NotifyModule.forPublisher, NotifyModule.forPublisherAsync, NOTIFY],
  ['OpsModule', OpsModule.forRoot, OpsModule.forRootAsync, OPS],
] as ReadonlyArray<
  readonly [
    name: string,
    forRoot: (options: object) => ReturnType<typeof DtxModule.forRoot>,
    forRootAsync: (options: AsyncModuleOptions<object, string>) => ReturnType<typeof DtxModule.forRoot>,
    options: object,
  ]
>;

class Imported {}

describe('every module', () => {
  test.each(MODULES)(
    '%s is global by default, except OpsModule, and `isGlobal` decides',
    (name, sync, async, options) => {
      const useFactory = () => options;
      for (const isGlobal of [true, false]) {
        expect(sync({ ...options, isGlobal }).global).toBe(isGlobal);
        expect(async({ useFactory, isGlobal }).global).toBe(isGlobal);
      }
      for (const isGlobal of [undefined, null] as unknown as undefined[])
        expect(sync({ ...options, isGlobal }).global).toBe(name !== 'OpsModule');
      expect(async({ useFactory }).global).toBe(name !== 'OpsModule');
    },
  );

  test.each(MODULES)('%s passes its imports on', (_, sync, async, options) => {
    expect(sync({ ...options, imports: [Imported] }).imports).toContain(Imported);
    expect(async({ useFactory: () => options, imports: [Imported] }).imports).toContain(Imported);
  });

  const schemes = MODULES.filter(([name]) => name !== 'DtxModule');
  test.each(schemes)('%s imports the DtxModule whose DataSource it names', (_, sync, async, options) => {
    const billing = DtxModule.forRoot({ ...CORE, dataSource: 'billing', isGlobal: false });
    expect(sync({ ...options, dataSource: 'billing' }).imports).toContain(billing);
    expect(async({ useFactory: () => options, dataSource: 'billing' }).imports).toContain(billing);
  });

  test('XaModule.forParticipant imports the DtxModule whose DataSource it names', () => {
    const billing = DtxModule.forRoot({ ...CORE, dataSource: 'billing', isGlobal: false });
    expect(XaModule.forParticipant({ dataSource: 'billing' }).imports).toContain(billing);
  });

  test.each(schemes)('%s names the DataSources that exist if it names another one', (_, sync, async, options) => {
    DtxModule.forRoot({ ...CORE, dataSource: 'billing', isGlobal: false });
    const error = /: no DtxModule has dataSource: bilings; .* one of those that exist \(.*\bbilling\b.*\)/;
    for (const { imports = [] } of [
      sync({ ...options, dataSource: 'bilings' }),
      async({ useFactory: () => options, dataSource: 'bilings' }),
    ])
      expect(() => imports.map((one) => (one as Partial<ForwardReference>).forwardRef?.())).toThrow(error);
  });

  test('a DtxModule may be defined after the module that names its DataSource', () => {
    const { imports = [] } = LocalMessageModule.forRoot({ dataSource: 'later' });
    const later = DtxModule.forRootAsync({ useFactory: () => CORE, dataSource: 'later' });
    expect(imports.map((one) => (one as ForwardReference).forwardRef())).toEqual([later]);
  });

  test.each(MODULES)('%s refuses an unknown option in one line', (_, sync, _async, options) => {
    expect(() => sync({ ...options, nope: 1 })).toThrow(/^[a-zA-Z]+: Unrecognized key: "nope"$/);
  });

  test.each(MODULES)('%s leaves the check of options from a factory to the start', (_, _sync, async, options) => {
    const { providers = [] } = async({ useFactory: () => ({ ...options, nope: 1 }) });
    const read = providers.find(
      (one): one is { provide: symbol; useFactory: (given: object) => unknown } =>
        'useFactory' in one && one.inject?.[0] === GIVEN_OPTIONS,
    )!;
    expect(() => read.useFactory({ ...options, nope: 1 })).toThrow(OptionsError);
    expect(() => read.useFactory(undefined as never)).toThrow(/the options factory returned undefined/);
  });

  test.each(MODULES)('%s.forRootAsync needs one source of options', (_, _sync, async) => {
    expect(() => async({})).toThrow(/got 0 of useFactory, useClass and useExisting; give one of them/);
    expect(() => async({ useFactory: () => ({}), useExisting: Imported as never })).toThrow(/got 2 of/);
  });
});

test('a wrong option name is a compile error in forRoot', () => {
  // @ts-expect-error misspelt
  expect(() => DtxModule.forRoot({ ...CORE, rabbitUrl: 'amqp://localhost' })).toThrow(OptionsError);
  // @ts-expect-error misspelt
  expect(() => LocalMessageModule.forRoot({ attempts: 3 })).toThrow(OptionsError);
  // @ts-expect-error misspelt
  expect(() => TccModule.forRoot({ participants: [] })).toThrow(OptionsError);
  // @ts-expect-error the class lacks the method that TccModule calls
  TccModule.forRootAsync({ useClass: Imported });
});
