// What a set of servers consists of.
import type { Say } from '../cli/say-type.js';

/** The apps, each with a database server of its own. */
export const DATABASES = ['order', 'payment', 'inventory'] as const;
export const SERVERS = [...DATABASES, 'rabbitmq', 'redis'] as const;
export const KINDS = ['databases', 'rabbitmq', 'redis'] as const;

export type App = (typeof DATABASES)[number];
export type Server = (typeof SERVERS)[number];
export type Kind = (typeof KINDS)[number];
/** How a kind of server is provided: given by URL, by Docker Compose, or as private processes of this machine. */
export type Provision = 'url' | 'compose' | 'local';
export type Flavour = 'mariadb' | 'mysql';
export type Ports = Partial<Record<Server | 'management' | 'epmd' | 'dist', number>>;

/** URLs of some kinds of server. Those of the databases name no database, that of the broker names no vhost. */
export interface ServerUrls {
  databases: Record<App, string>;
  rabbitmq: string;
  management: string;
  redis: string;
}

export interface Servers extends ServerUrls {
  name: string;
  way: Partial<Record<Kind, Provision>>;
}

export interface ServerState {
  ways: Partial<Record<Kind, Provision>>;
  ports: Ports;
  secrets: { database?: string; broker?: string; redis?: string; cookie?: string };
  /** Of the database servers whose data folders exist. */
  flavour?: Flavour;
  /** The name of the Erlang node of a local broker. */
  nodeName?: string;
  /** Containers may exist. */
  composed?: boolean;
  given?: Partial<Record<Kind, Partial<ServerUrls>>>;
}

/** What provisioning works with. */
export interface ServerSet {
  readonly name: string;
  readonly state: ServerState;
  readonly say: Say;
  save(): void;
}

/** Outages on purpose, for one server. */
export interface ServerControl {
  stop(): Promise<void>;
  start(): Promise<void>;
  kill(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  readonly supported: boolean;
}

export const isApp = (name: string): name is App => (DATABASES as readonly string[]).includes(name);
export const kindOf = (server: Server): Kind => (isApp(server) ? 'databases' : server);
export const serversOf = (kinds: readonly Kind[]): Server[] =>
  SERVERS.filter((server) => kinds.includes(kindOf(server)));

/** A value for each app. */
export const perApp = <T>(make: (app: App) => T): Record<App, T> =>
  Object.fromEntries(DATABASES.map((app) => [app, make(app)])) as Record<App, T>;
