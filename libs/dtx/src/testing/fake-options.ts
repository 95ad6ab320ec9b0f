import type { EntityManager } from 'typeorm';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';

/** The options of the fakes. */
export interface FakeOptions {
  /** Largest payload, in bytes of JSON. The default is that of the schemes. */
  readonly payloadMaxBytes?: number;
  /** The name of the app under test: the initiator of TCC branches, and the own database of XA. Default `app`. */
  readonly app?: string;
  /**
   * Makes the EntityManager that user code gets from a fake, such as the work of a half message. The default is
   * `fakeTransaction()`.
   */
  readonly transaction?: () => EntityManager;
}

/** The public methods of a service, without the hooks that Nest calls. */
export type PublicOf<Service> = Omit<
  Service,
  'onModuleInit' | 'onModuleDestroy' | 'onApplicationBootstrap' | 'beforeApplicationShutdown' | 'onApplicationShutdown'
>;

export const payloadMaxBytesOf = ({ payloadMaxBytes }: FakeOptions): number =>
  payloadMaxBytes ?? payloadMaxBytesOption().parse(undefined);

export const appOf = ({ app = 'app' }: FakeOptions): string => app;
