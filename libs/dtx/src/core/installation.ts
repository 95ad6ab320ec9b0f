import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { DATA_SOURCE } from './app-data-source.js';
import { OptionsError } from './errors/errors.js';
import { CORE_OPTIONS } from './injection-tokens.js';
import { GIVEN_OPTIONS } from './module-options.js';
import type { CoreOptions } from './options.js';

/**
 * One `DtxModule` with the modules that use it. An application may have several, each with its own app name and its own
 * DataSource. At most one of them is global. The modules of the others name it in `imports`.
 */
@Injectable()
export class Installation implements OnModuleInit {
  constructor(
    private readonly modules: ModulesContainer,
    @Inject(CORE_OPTIONS) private readonly options: Pick<CoreOptions, 'app'>,
    @Inject(DATA_SOURCE) private readonly source: DataSource,
  ) {}

  get app(): string {
    return this.options.app;
  }

  /** The names of the other apps in this application. Their handlers and participants are not of this installation. */
  get otherApps(): string[] {
    return this.others.map(({ app }) => app);
  }

  /** @throws OptionsError for two installations that would take the rows, messages or injections of each other */
  onModuleInit(): void {
    this.checkGlobals();
    for (const other of this.others) {
      if (other.app === this.app)
        throw new OptionsError(
          `two DtxModules have app: ${this.app}; give each its own name, since queues are named by it`,
        );
      if (other.source === this.source)
        throw new OptionsError(
          `the DtxModules of ${this.app} and ${other.app} use one DataSource; give each its own by the option dataSource`,
        );
    }
  }

  private get others(): Installation[] {
    const instances = [...this.modules.values()].map((module) => module.providers.get(Installation)?.instance);
    return instances.filter((one): one is Installation => one instanceof Installation && one !== this);
  }

  /** Nest would inject the first one everywhere, without a word. */
  private checkGlobals(): void {
    const seen = new Set<unknown>();
    for (const { isGlobal, metatype, providers } of this.modules.values()) {
      if (!isGlobal || !providers.has(GIVEN_OPTIONS)) continue;
      if (seen.has(metatype))
        throw new OptionsError(
          `two ${metatype.name}s are global; set isGlobal: false on all but one, and list its DtxModule in their imports`,
        );
      seen.add(metatype);
    }
  }
}
