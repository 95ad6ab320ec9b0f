import { Inject, Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner, ModuleRef } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { declareClasses } from '../core/classes-of-schemes.js';
import { OptionsError } from '../core/errors/errors.js';
import { Installation } from '../core/installation.js';
import { callsOf, type Saga } from './saga-entries.js';
import type { StepContract } from './step-contract.js';
import { METHOD, type MethodMark, type SagaStepContext, STEP } from './step-decorators.js';

type Bound = (tx: EntityManager, args: unknown, step: SagaStepContext<unknown>) => unknown;

/** A step of this app with its bound methods. */
export interface MountedStep {
  readonly contract: StepContract;
  readonly do: Bound;
  readonly undo: Bound | undefined;
  readonly done: ((args: unknown, step: SagaStepContext<unknown>) => unknown) | undefined;
}

/** Injection token: steps for which this app must have a class. */
export const CARRIES_OUT = Symbol('dtx saga carries out');
/** Injection token: the sagas that this app may start and goes on with. */
export const SAGAS = Symbol('dtx sagas');

/** Finds the classes of this app's steps at start. Refuses the start for an invalid one. */
@Injectable()
export class StepExplorer {
  private found: readonly MountedStep[] | undefined;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly installation: Installation,
    private readonly modules: ModuleRef,
    @Inject(CARRIES_OUT) private readonly promised: readonly StepContract[],
    @Inject(SAGAS) private readonly sagas: readonly Saga[],
  ) {}

  /** @throws OptionsError for a missing, duplicate, foreign, incomplete or request-scoped class, once for all */
  explore(): readonly MountedStep[] {
    this.found ??= this.check(this.mountAll());
    return this.found;
  }

  private mountAll(): Map<string, MountedStep> {
    const { app } = this.installation;
    const found = new Map<string, MountedStep>();
    const mounted = new Set<unknown>();
    const otherApps = this.otherApps();
    for (const wrapper of this.discovery.getProviders()) {
      // `metatype` of a provider by `useFactory` is the factory, and its class shows in the instance. Two tokens may give
      // one instance.
      const type = [wrapper.metatype, classOf(wrapper.instance)].find(hasContract);
      if (!type || mounted.has(wrapper.instance)) continue;
      const contract: StepContract = Reflect.getMetadata(STEP, type);
      mounted.add(wrapper.instance);
      const label = `${labelOf(contract)} (${type.name})`;
      if (otherApps.some((other) => contract.name.startsWith(`${other}.`))) continue;
      if (!contract.name.startsWith(`${app}.`)) throw new OptionsError(`${label} belongs to another app than ${app}`);
      if (!wrapper.isDependencyTreeStatic())
        throw new OptionsError(`${label} is request-scoped or transient; make it and its dependencies singletons`);
      if (found.has(keyOf(contract))) throw new OptionsError(`${label} is registered twice`);
      found.set(keyOf(contract), this.mount(contract, label, wrapper.instance as object));
    }
    return found;
  }

  /** The steps that the sagas and the options of this app name must have a class that fits their kind. */
  private check(found: ReadonlyMap<string, MountedStep>): MountedStep[] {
    for (const contract of this.promised) this.mustHave(found, contract);
    for (const saga of this.sagas)
      for (const { kind, step } of callsOf(saga.groups)) {
        if (!step.name.startsWith(`${this.installation.app}.`)) continue;
        const problem = problemOfKind(kind, this.mustHave(found, step));
        if (problem) throw new OptionsError(`${labelOf(step)} of saga ${saga.name} v${saga.version}: ${problem}`);
      }
    return [...found.values()];
  }

  private mustHave(found: ReadonlyMap<string, MountedStep>, contract: StepContract): MountedStep {
    const mounted = found.get(keyOf(contract));
    if (mounted) return mounted;
    throw new OptionsError(`${labelOf(contract)} has no @SagaStep class among the providers; add one`);
  }

  /** Apps in this application with a SagaModule of their own, which takes their steps. */
  private otherApps(): string[] {
    const all = this.modules.get<StepExplorer, StepExplorer>(StepExplorer, { strict: false, each: true });
    return all.filter((one) => one !== this).map(({ installation }) => installation.app);
  }

  private mount(contract: StepContract, label: string, instance: object): MountedStep {
    const phases = new Map<MethodMark['phase'], Bound>();
    for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(instance))) {
      const method = (instance as Record<string, Bound>)[name]!;
      const mark: MethodMark | undefined = Reflect.getMetadata(METHOD, method);
      if (!mark) continue;
      if (keyOf(mark.contract) !== keyOf(contract))
        throw new OptionsError(`${label} has a method for another contract: ${name} is for ${keyOf(mark.contract)}`);
      if (phases.has(mark.phase)) throw new OptionsError(`${label} has two methods for ${mark.phase}: a phase has one`);
      phases.set(mark.phase, method.bind(instance) as Bound);
    }
    const run = phases.get('do');
    if (!run) throw new OptionsError(`${label} has no method with @Do; add one`);
    return {
      contract,
      do: run,
      undo: phases.get('undo'),
      done: phases.get('done') as unknown as MountedStep['done'],
    };
  }
}

/** Why a class cannot carry out a step of this kind. The app of a step and its saga may differ, so a Do checks it too. */
export function problemOfKind(kind: string, { undo }: Pick<MountedStep, 'undo'>): string | undefined {
  if (kind === 'compensable' && !undo)
    return 'it is compensable and its class has no method with @Undo; add one, or declare the step with another kind';
  if (kind !== 'compensable' && undo)
    return `it is ${kind} and its class has a method with @Undo, which would never run; remove it, or make the step compensable`;
  return undefined;
}

declareClasses({ metadata: STEP, decorator: '@SagaStep', module: 'SagaModule', provider: StepExplorer });

const keyOf = ({ name, version }: StepContract) => `${name} v${version}`;
const labelOf = (step: StepContract) => `saga step ${keyOf(step)}`;

/** The class of an instance, without a read of its own properties. A foreign provider may be a proxy. */
function classOf(instance: unknown): unknown {
  return typeof instance === 'object' && instance !== null ? Object.getPrototypeOf(instance)?.constructor : undefined;
}

function hasContract(type: unknown): type is { readonly name: string } {
  return typeof type === 'function' && Reflect.hasMetadata(STEP, type);
}
