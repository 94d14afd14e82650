/**
 * The shapes of names. Each is safe in a path, a store key, a caveat and a log line as it stands, so no name is
 * ever escaped.
 */
import { ACTOR_ID_LENGTH_MAX, NAME_LENGTH_MAX } from "./limits.ts";

export const TENANT_NAME = new RegExp(`^[a-z][a-z0-9-]{0,${NAME_LENGTH_MAX - 1}}$`);
export const TYPE_NAME = new RegExp(`^[a-z][a-z0-9_]{0,${NAME_LENGTH_MAX - 1}}$`);
export const MESSAGE_NAME = TYPE_NAME;
/** Of a behaviour that an actor may become. */
export const BEHAVIOUR_NAME = TYPE_NAME;
export const HANDLER_NAME = new RegExp(`^[a-z][a-z0-9_-]{0,${NAME_LENGTH_MAX - 1}}$`);
/** Visible ASCII, never dots alone: those mean something in a path. */
export const ACTOR_ID = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,${ACTOR_ID_LENGTH_MAX - 1}}$`);
/** Of an edge node. */
export const EDGE_NAME = TENANT_NAME;
export const ED25519_PREFIX = "ed25519:";
/** A key that signs: an x-only secp256k1 public key (BIP-340) in hex, or an Ed25519 one with its scheme before it. */
export const HOLDER = new RegExp(`^(?:${ED25519_PREFIX})?[0-9a-f]{64}$`);
