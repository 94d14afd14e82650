/** What a path names, in one spelling only: `/v1/{tenant}/{type}/{id}`, and `/{message}` where it is a single call. */
import { type Refusal, refuse } from "../errors.ts";
import { ACTOR_ID, MESSAGE_NAME, TENANT_NAME, TYPE_NAME } from "../names.ts";

export interface Target {
  readonly tenant: string;
  readonly type: string;
  readonly id: string;
  /** `undefined` where the path names the actor itself. */
  readonly message: string | undefined;
}

/** Percent-encoding is not decoded, so no two paths name one actor. */
export function readTarget(url: URL): Target | Refusal {
  const [, version, tenant = "", type = "", id = "", message, ...rest] = url.pathname.split("/");
  if (version !== "v1" || rest.length > 0)
    return refuse(
      "malformed_request",
      "the path is /v1/{tenant}/{type}/{id}/{message}, or that of the actor",
    );
  if (url.search !== "") return refuse("malformed_request", "a call takes no query");
  if (!TENANT_NAME.test(tenant)) return refuse("no_such_tenant", "the path names no tenant");
  if (!TYPE_NAME.test(type)) return refuse("no_such_actor_type", "the path names no actor type");
  if (!ACTOR_ID.test(id))
    return refuse("malformed_request", "the path's actor id is not 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -");
  if (message !== undefined && !MESSAGE_NAME.test(message))
    return refuse("no_such_message", "the path names no message");
  return { tenant, type, id, message };
}
