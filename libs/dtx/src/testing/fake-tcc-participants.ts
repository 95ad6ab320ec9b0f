// The participants that FakeTcc calls: instances of `@TccParticipant` classes, or stubs.
import type { EntityManager } from 'typeorm';
import { DtxError } from '../core/errors/errors.js';
import { type Participant, type TccBranch } from '../tcc/index.js';
import { METHODS, PARTICIPANT } from '../tcc/participant-decorators.js';
import { mountedOf } from '../tcc/participant-discovery.js';

/** Stands in for a participant of another service. A phase that is left out succeeds without effect. */
export interface TccStub<Args> {
  /** Throw `Rejected` to refuse. The other two phases get the returned value as `branch.data`. */
  try?(args: Args, branch: TccBranch): unknown;
  confirm?(args: Args, branch: TccBranch): unknown;
  cancel?(args: Args, branch: TccBranch): unknown;
}

type Phase = (tx: EntityManager, args: unknown, branch: TccBranch) => unknown;

export interface FakeParticipant {
  readonly contract: Participant;
  readonly try: Phase;
  readonly confirm: Phase;
  readonly cancel: Phase;
  readonly cancelWithoutTry: boolean;
  readonly confirmed: (args: unknown, branch: TccBranch) => unknown;
}

export const keyOf = ({ name, version }: Pick<Participant, 'name' | 'version'>): string => `${name} v${version}`;

export function stubbed<Args>(contract: Participant<Args>, stub: TccStub<Args>): FakeParticipant {
  const phase =
    (name: keyof TccStub<Args>): Phase =>
    (_, args, branch) =>
      stub[name]?.(args as Args, branch);
  return {
    contract: contract as unknown as Participant,
    try: phase('try'),
    confirm: phase('confirm'),
    cancel: phase('cancel'),
    cancelWithoutTry: false,
    confirmed: () => {},
  };
}

/** Reads the methods of a decorated class. @throws DtxError for an undecorated class, or for a missing phase */
export function decorated(instance: object): FakeParticipant {
  const type = instance.constructor;
  const contract: Participant | undefined = Reflect.getMetadata(PARTICIPANT, type);
  if (!contract)
    throw new DtxError(`${type.name} is not a TCC participant; decorate it with @TccParticipant(contract)`);
  const label = `TCC participant ${keyOf(contract)} (${type.name})`;
  const mounted = mountedOf({ contract, label, names: Reflect.getMetadata(METHODS, type) }, instance);
  return { ...mounted, confirmed: mounted.confirmed ?? (() => {}) };
}
