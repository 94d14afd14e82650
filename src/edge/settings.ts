/** An edge node's settings, from its worker's bindings: all of them right, or the node answers nothing. */
import { fromHex, utf8 } from "../bytes.ts";
import { EDGE_NAME, TENANT_NAME } from "../names.ts";
import { Secret } from "../secret.ts";
import type { R2Binding } from "../store/r2.ts";
import type { S3Credentials } from "../store/s3.ts";
import { PREFIX, parseS3Address, type S3Address } from "../store/s3-address.ts";
import { ROOT_SECRET_BYTES } from "../token/keyring.ts";
import type { LoaderBinding } from "./handlers.ts";

/** What the platform hands over: texts, secrets among them, and objects. */
export type Bindings = Readonly<Record<string, unknown>>;

export type StoreSettings =
  | { readonly kind: "r2"; readonly bucket: R2Binding; readonly prefix: string }
  | { readonly kind: "s3"; readonly address: S3Address; readonly credentials: S3Credentials };

export interface EdgeSettings {
  /** `POSTERN_EDGE` and `POSTERN_EDGE_KEY`, 64 hex digits: the node's name, and what its key rings are sealed with. */
  readonly edge: { readonly name: string; readonly key: Secret };
  /** `POSTERN_TENANTS`, with `,` between. */
  readonly tenants: readonly string[];
  /** `POSTERN_AUTHORITIES`, with `,` between: the hosts under which callers address it. */
  readonly authorities: readonly string[];
  /** `POSTERN_CLIENT_ADDRESS`: the field in which the platform writes the caller's address; none is believed unless said. */
  readonly addressField: string | undefined;
  /** `POSTERN_STORE`: `r2:` or `r2:PREFIX`, in the bucket bound as `STORE`; or `s3://…`, with the usual `AWS_…` names. */
  readonly store: StoreSettings;
  /** The Worker Loader bound as `LOADER`, where there is one. */
  readonly loader: LoaderBinding | undefined;
}

/** @returns what is wrong with them, as a sentence without its end; no value is repeated */
export function readSettings(bindings: Bindings): EdgeSettings | string {
  const name = text(bindings, "POSTERN_EDGE") ?? "";
  if (!EDGE_NAME.test(name)) return "POSTERN_EDGE must be the edge node's name";
  const key = fromHex(text(bindings, "POSTERN_EDGE_KEY") ?? "");
  if (key?.length !== ROOT_SECRET_BYTES) return "POSTERN_EDGE_KEY must be 64 hex digits";
  const tenants = listed(bindings, "POSTERN_TENANTS");
  if (tenants.length === 0 || !tenants.every((tenant) => TENANT_NAME.test(tenant)))
    return "POSTERN_TENANTS must name tenants";
  const authorities = listed(bindings, "POSTERN_AUTHORITIES");
  if (authorities.length === 0 || !authorities.every(isHost))
    return "POSTERN_AUTHORITIES must name hosts, with their port where it is not the scheme's";
  const addressField = text(bindings, "POSTERN_CLIENT_ADDRESS");
  if (addressField !== undefined && !/^[a-z][a-z0-9-]{0,63}$/.test(addressField))
    return "POSTERN_CLIENT_ADDRESS must be a field's name in lower case";
  const store = readStore(bindings);
  if (typeof store === "string") return store;
  const loader = bindings["LOADER"];
  if (loader !== undefined && !isLoader(loader)) return "LOADER is bound, but not to a Worker Loader";
  return { edge: { name, key: new Secret(key) }, tenants, authorities, addressField, store, loader };
}

function readStore(bindings: Bindings): StoreSettings | string {
  const url = text(bindings, "POSTERN_STORE") ?? "";
  if (url.startsWith("r2:")) {
    const prefix = url.slice("r2:".length);
    if (!PREFIX.test(prefix)) return "POSTERN_STORE is not understood: in R2 it is r2: or r2:PREFIX";
    const bucket = bindings["STORE"];
    if (!isBucket(bucket)) return "POSTERN_STORE is in R2, but no bucket is bound as STORE";
    return { kind: "r2", bucket, prefix: prefix === "" ? "" : `${prefix}/` };
  }
  const address = parseS3Address(url, {
    endpoint: text(bindings, "AWS_ENDPOINT_URL_S3"),
    region: text(bindings, "AWS_REGION"),
  });
  if (typeof address === "string") return `POSTERN_STORE is not understood: ${address}`;
  const [accessKeyId = "", secret = ""] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map((name) =>
    text(bindings, name),
  );
  if (!VISIBLE.test(accessKeyId) || !VISIBLE.test(secret))
    return "a store in S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in visible ASCII";
  const credentials = { accessKeyId, secretAccessKey: new Secret(utf8(secret)), sessionToken: undefined };
  return { kind: "s3", address, credentials };
}

const VISIBLE = /^[\x21-\x7e]+$/;

function isBucket(binding: unknown): binding is R2Binding {
  return typeof binding === "object" && binding !== null && "put" in binding && "list" in binding;
}

function isLoader(binding: unknown): binding is LoaderBinding {
  return typeof binding === "object" && binding !== null && "get" in binding;
}

/** As a URL has it: a request's host is compared with it. */
export function isHost(host: string): boolean {
  return URL.parse(`http://${host}/`)?.host === host || URL.parse(`https://${host}/`)?.host === host;
}

function text(bindings: Bindings, name: string): string | undefined {
  const value = bindings[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function listed(bindings: Bindings, name: string): readonly string[] {
  return (
    text(bindings, name)
      ?.split(",")
      .map((item) => item.trim()) ?? []
  );
}
