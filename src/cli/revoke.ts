/** `postern revoke`: what was given out is taken back, on every node within 2 s; and the list of what was. */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { REVOCATION_REASON_LENGTH_MAX, REVOCATIONS_LISTED_MAX } from "../limits.ts";
import { type Revoked, revocationOf, revoke as revokeIn } from "../revoke.ts";
import { readKeyring } from "../tenants.ts";
import { activeKey, type Keyring } from "../token/keyring.ts";
import { type Macaroon, parseIdentifier } from "../token/macaroon.ts";
import { isRevocable, type Revocation, type RevocationKind } from "../token/revocation.ts";
import { listRevocations, type Place } from "../token/revocation-feed.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  flag,
  type Outcome,
  printable,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { type OpenStore, openStore } from "./inputs.ts";
import { chooseTenant } from "./tenant-input.ts";
import { readToken, TOKEN_INPUT } from "./token-input.ts";

const DEFAULT_LIMIT = "100";

export const revoke: Command = {
  name: "revoke",
  summary: "revoke a token, a subtree, a holder, a key or a tenant; list what was revoked",
  usage:
    "--token FILE [--subtree] | --holder PUBLIC_KEY | --kid N | --tenant NAME | --list [--after CURSOR] [--limit N]",
  options: {
    ...TOKEN_INPUT,
    subtree: { type: "boolean" },
    holder: { type: "string" },
    kid: { type: "string" },
    tenant: { type: "string" },
    reason: { type: "string" },
    list: { type: "boolean" },
    after: { type: "string" },
    limit: { type: "string" },
    store: { type: "string" },
  },
  help: {
    token:
      "file with the token, or - for standard input: revokes it as minted, with all that descend from it",
    subtree: "with --token: revokes it as attenuated, with all that descend from that; its ancestors stay",
    holder: "public key (64 hex digits): what it signs, and every token that names it",
    kid: "number of a key of the tenant: every token that was minted with it",
    tenant: "whose (default: the only tenant in the store); alone: every token of this tenant, for ever",
    reason: "why, for people who read the list",
    list: "print what was revoked, oldest first",
    after: "the list goes on behind this cursor",
    limit: `how many to list, up to ${REVOCATIONS_LISTED_MAX} (default ${DEFAULT_LIMIT})`,
    store: `where the tenant is published (default ${DEFAULT_STORE})`,
  },
  async run(environment, values) {
    const order = flag(values, "list") ? readListOrder(values) : await readOrder(environment, values);
    if (order instanceof UsageProblem || isRefusal(order)) return order;
    const opened = await openStore(environment, values, "from" in order ? "read" : "change");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    try {
      const tenant =
        "macaroon" in order
          ? (parseIdentifier(order.macaroon.identifier)?.tenant ?? "")
          : await chooseTenant(opened.store, values);
      if (tenant instanceof UsageProblem || isRefusal(tenant)) return tenant;
      if (tenant !== (values["tenant"] ?? tenant))
        return new UsageProblem("--tenant is not the tenant of the token");
      return await ("from" in order
        ? list(opened, tenant, order)
        : carryOut(opened, tenant, order, environment, values));
    } finally {
      await opened.store.close();
    }
  },
};

/** What is to be revoked, as far as it can be told without the store. */
type Order =
  | { readonly macaroon: Macaroon; readonly reach: "token" | "subtree" }
  | { readonly kind: RevocationKind; readonly value: string };

async function readOrder(environment: Environment, values: Values): Promise<Order | UsageProblem | Refusal> {
  const { token, holder, kid, tenant } = values;
  const named = [token, holder, kid].filter((value) => value !== undefined);
  if (named.length > 1)
    return new UsageProblem("only one of --token, --holder and --kid can be revoked at once");
  if (flag(values, "subtree") && token === undefined) return new UsageProblem("--subtree needs --token");
  if (values["after"] !== undefined || values["limit"] !== undefined)
    return new UsageProblem("--after and --limit belong to --list");
  if ((text(values, "reason") ?? "").length > REVOCATION_REASON_LENGTH_MAX)
    return new UsageProblem(`--reason has at most ${REVOCATION_REASON_LENGTH_MAX} characters`);
  if (token !== undefined) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    return { macaroon: input.macaroon, reach: flag(values, "subtree") ? "subtree" : "token" };
  }
  const [kind, value] =
    holder === undefined
      ? kid === undefined
        ? (["tenant", tenant] as const)
        : (["kid", kid] as const)
      : (["holder", holder] as const);
  if (value === undefined)
    return new UsageProblem("say what to revoke: --token, --holder, --kid or --tenant");
  if (typeof value !== "string" || !isRevocable(kind, value))
    return new UsageProblem(`--${kind} ${String(value)} cannot be one`);
  return { kind, value };
}

async function carryOut(
  { store, master }: OpenStore,
  tenant: string,
  order: Order,
  environment: Environment,
  values: Values,
): Promise<Outcome> {
  const ring = await readKeyring(store, tenant, master);
  if (isRefusal(ring)) return ring;
  const revoked = "macaroon" in order ? revocationOf(order.macaroon, ring, order.reach) : inRing(order, ring);
  if (isRefusal(revoked)) return revoked;
  const now_ms = environment.now_ms();
  const reason = text(values, "reason");
  const entry: Revocation = {
    ...revoked,
    at: new Date(now_ms).toISOString(),
    ...(reason !== undefined && { reason }),
  };
  const random = (length: number): Uint8Array => environment.random(length);
  const added = await revokeIn(store, tenant, entry, { now_ms, random });
  if (isRefusal(added)) return added;
  const { kind, value } = entry;
  const isActive = kind === "kid" && String(activeKey(ring)?.kid) === value;
  const done = `${tenant}: ${kind} ${value} ${added ? "is revoked, on every node within 2 s" : "was revoked already"}`;
  return {
    json: { tenant, kind, value, until: untilOf(entry) ?? null, added },
    text: isActive ? `${done}\nit is the active key: \`postern rotate\` makes another to mint with` : done,
  };
}

/** A key that the ring does not have yet must not be revoked before it is made. */
function inRing(order: Revoked, ring: Keyring): Revoked | Refusal {
  if (order.kind !== "kid" || ring.some(({ kid }) => String(kid) === order.value)) return order;
  return refuse("token_invalid", `the ring has no key ${order.value}`);
}

interface ListOrder {
  readonly from: Place;
  readonly limit: number;
}

function readListOrder(values: Values): ListOrder | UsageProblem {
  const alien = ["token", "subtree", "holder", "kid", "reason"].find((name) => values[name] !== undefined);
  if (alien !== undefined) return new UsageProblem(`--list takes no --${alien}`);
  const limit = text(values, "limit") ?? DEFAULT_LIMIT;
  if (!/^[1-9]\d{0,5}$/.test(limit) || Number(limit) > REVOCATIONS_LISTED_MAX)
    return new UsageProblem(`--limit is a number from 1 to ${REVOCATIONS_LISTED_MAX}`);
  const after = text(values, "after");
  if (after === undefined) return { from: { page: 0, index: 0 }, limit: Number(limit) };
  const [, page, index] = /^(\d{1,8})\.(\d{1,4})$/.exec(after) ?? [];
  if (page === undefined || index === undefined)
    return new UsageProblem("--after takes a cursor as the list prints it");
  return { from: { page: Number(page), index: Number(index) + 1 }, limit: Number(limit) };
}

async function list({ store }: OpenStore, tenant: string, { from, limit }: ListOrder): Promise<Outcome> {
  const listed = await listRevocations(store, tenant, from, limit);
  if (isRefusal(listed)) return listed;
  const revocations = listed.entries.map(({ page, index, kind, value, at, reason, until_ms }) => {
    const until = untilOf({ until_ms });
    const cursor = `${page}.${index}`;
    return {
      cursor,
      kind,
      value,
      at,
      ...(until !== undefined && { until }),
      ...(reason !== undefined && { reason }),
    };
  });
  const next = listed.more ? (revocations.at(-1)?.cursor ?? null) : null;
  const lines = revocations.map(({ cursor, kind, value, at, until, reason }) =>
    [cursor, at, kind, value, until === undefined ? "" : `until ${until}`, reason ?? ""]
      .filter((part) => part !== "")
      .map(printable)
      .join("  "),
  );
  if (next !== null) lines.push(`more: --after ${next}`);
  return {
    json: { tenant, revocations, next },
    text: lines.length === 0 ? `${tenant} has revoked nothing` : lines.join("\n"),
  };
}

function untilOf({ until_ms }: { readonly until_ms?: number | undefined }): string | undefined {
  return until_ms === undefined ? undefined : new Date(until_ms).toISOString();
}
