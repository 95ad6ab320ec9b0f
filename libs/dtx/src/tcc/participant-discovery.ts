import { Inject, Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { declareClasses } from '../core/classes-of-schemes.js';
import { OptionsError } from '../core/errors/errors.js';
import { Installation } from '../core/installation.js';
import type { TccBranch, TccMethods } from './participant-class-types.js';
import type { Participant } from './participant-contract.js';
import { METHODS, PARTICIPANT, PHASE, type PhaseMark } from './participant-decorators.js';

type Bound = (tx: EntityManager, args: unknown, branch: TccBranch) => unknown;

/** A participant with its bound methods. */
export interface MountedParticipant {
  readonly contract: Participant;
  readonly try: Bound;
  readonly confirm: Bound;
  readonly cancel: Bound;
  readonly cancelWithoutTry: boolean;
  /** The `@TccConfirmed` method, if any. */
  readonly confirmed: ((args: unknown, branch: TccBranch) => unknown) | undefined;
}

/** Injection token: contracts for which this app must have a class. */
export const PARTICIPATES = Symbol('dtx tcc participates');

/** Finds the participants of this app at start. Refuses the start for an invalid one. */
@Injectable()
export class Explorer {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly installation: Installation,
    private readonly modules: ModuleRef,
    @Inject(PARTICIPATES) private readonly promised: readonly Participant[],
  ) {}

  /** @throws OptionsError for a missing, duplicate, foreign, incomplete or request-scoped participant */
  explore(): MountedParticipant[] {
    const found = new Map<string, MountedParticipant>();
    const mounted = new Set<unknown>();
    const otherApps = this.otherApps();
    for (const wrapper of this.discovery.getProviders()) {
      // `metatype` of a provider by `useFactory` is the factory, and its class shows in the instance. Two tokens may give
      // one instance.
      const type = [wrapper.metatype, classOf(wrapper.instance)].find(hasContract);
      if (!type || mounted.has(wrapper.instance)) continue;
      const contract: Participant = Reflect.getMetadata(PARTICIPANT, type);
      mounted.add(wrapper.instance);
      const label = `TCC participant ${contract.name} v${contract.version} (${type.name})`;
      const { app } = this.installation;
      if (otherApps.some((other) => contract.name.startsWith(`${other}.`))) continue;
      if (!contract.name.startsWith(`${app}.`)) throw new OptionsError(`${label} belongs to another app than ${app}`);
      if (!wrapper.isDependencyTreeStatic())
        throw new OptionsError(`${label} is request-scoped or transient; make it and its dependencies singletons`);
      const key = `${contract.name} v${contract.version}`;
      if (found.has(key)) throw new OptionsError(`${label} is registered twice`);
      found.set(
        key,
        mountedOf({ contract, label, names: Reflect.getMetadata(METHODS, type) }, wrapper.instance as object),
      );
    }
    for (const { name, version } of this.promised) {
      if (!found.has(`${name} v${version}`))
        throw new OptionsError(`TCC participant ${name} v${version} has no @TccParticipant class among the providers`);
    }
    return [...found.values()];
  }

  /** Apps in this application with a TccModule of their own, which takes their participants. */
  private otherApps(): string[] {
    const all = this.modules.get<Explorer, Explorer>(Explorer, { strict: false, each: true });
    return all.filter((one) => one !== this).map(({ installation }) => installation.app);
  }
}

declareClasses({
  metadata: PARTICIPANT,
  decorator: '@TccParticipant',
  module: 'TccModule',
  provider: Explorer,
});

interface Found {
  readonly contract: Participant;
  readonly label: string;
  readonly names: TccMethods | undefined;
}

type Phases = Map<PhaseMark['phase'], { run: Bound; withoutTry: boolean }>;

/** The participant of an instance. @throws OptionsError for a class without a method for each phase */
export function mountedOf(found: Found, instance: object): MountedParticipant {
  const { contract, label, names } = found;
  const phases = markedMethods(found, instance);
  if (names && phases.size > 0)
    throw new OptionsError(`${label} names its methods in @TccParticipant; remove @TccTry, @TccConfirm and @TccCancel`);
  if (names) for (const [phase, method] of namedMethods(names, instance, label)) phases.set(phase, method);
  const of = (phase: PhaseMark['phase']) => {
    const method = phases.get(phase);
    if (!method) throw new OptionsError(`${label} has no method for ${phase}`);
    return method;
  };
  return {
    contract,
    try: of('try').run,
    confirm: of('confirm').run,
    cancel: of('cancel').run,
    cancelWithoutTry: of('cancel').withoutTry,
    confirmed: phases.get('confirmed')?.run as unknown as MountedParticipant['confirmed'],
  };
}

/** The methods with `@TccTry`, `@TccConfirm`, `@TccCancel` and `@TccConfirmed`. */
function markedMethods({ contract, label }: Found, instance: object): Phases {
  const phases: Phases = new Map();
  for (const name of new MetadataScanner().getAllMethodNames(Object.getPrototypeOf(instance))) {
    const method = (instance as Record<string, Bound>)[name]!;
    const mark: PhaseMark | undefined = Reflect.getMetadata(PHASE, method);
    if (!mark) continue;
    const of = mark.contract ?? contract;
    if (of.name !== contract.name || of.version !== contract.version)
      throw new OptionsError(`${label} has a method for another contract: ${name} is for ${of.name} v${of.version}`);
    if (phases.has(mark.phase)) throw new OptionsError(`${label} has two methods for ${mark.phase}: a phase has one`);
    phases.set(mark.phase, { run: method.bind(instance) as Bound, withoutTry: mark.withoutTry });
  }
  return phases;
}

/** The methods that `@TccParticipant` names. @throws OptionsError if the class does not have one */
function namedMethods(names: TccMethods, instance: object, label: string): Phases {
  const phases: Phases = new Map();
  for (const phase of ['try', 'confirm', 'cancel', 'confirmed'] as const) {
    const name = names[phase];
    if (name === undefined) continue;
    const method = (instance as Record<string, unknown>)[name];
    if (typeof method !== 'function') throw new OptionsError(`${label} has no method ${name} for ${phase}`);
    phases.set(phase, { run: method.bind(instance) as Bound, withoutTry: names.cancelWithoutTry ?? false });
  }
  return phases;
}

/** The class of an instance, without a read of its own properties. A foreign provider may be a proxy. */
function classOf(instance: unknown): unknown {
  return typeof instance === 'object' && instance !== null ? Object.getPrototypeOf(instance)?.constructor : undefined;
}

function hasContract(type: unknown): type is { readonly name: string } {
  return typeof type === 'function' && Reflect.hasMetadata(PARTICIPANT, type);
}
