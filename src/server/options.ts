/** What a node is told when it starts. */
import type { Range } from "../ip.ts";
import type { Blamed } from "../quarantine.ts";
import type { Secret } from "../secret.ts";
import type { Store } from "../store/contract.ts";

export interface ServerOptions {
  readonly store: Store;
  readonly master: Secret;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Further hosts (with their port, where it is not the scheme's) under which callers address this node. */
  readonly authorities: readonly string[];
  /** Proxies in front of the node: what they say of the caller's address is believed. */
  readonly trustedProxies?: readonly Range[];
  /** Where other nodes reach this one; where it listens, unless told. */
  readonly advertise?: string;
  /** How long it may be silent before others take over. */
  readonly leaseTtl_ms?: number;
  /** Of a new store. */
  readonly shards?: number;
  /** Group commits of one shard in flight at once. */
  readonly window?: number;
  /** Threads that run turns; by the machine's cores, unless told. */
  readonly turnThreads?: number;
  /** Modules that are to go into quarantine before anything is served. */
  readonly blamed?: readonly Blamed[];
  /** Request lines and the node's own events, one JSON document each. */
  readonly write: (line: string) => void;
}
