/** Which tenant a command is about: the one named, or the only one in the store. */
import { isRefusal, type Refusal } from "../errors.ts";
import { policyKey } from "../publish.ts";
import type { Store } from "../store/contract.ts";
import { text, UsageProblem, type Values } from "./command.ts";

/** Whether the store has the tenant that is named, the caller finds out. */
export async function chooseTenant(store: Store, values: Values): Promise<string | UsageProblem | Refusal> {
  const named = text(values, "tenant");
  if (named !== undefined) return named;
  const keys = await store.list(policyKey(""));
  if (isRefusal(keys)) return keys;
  const names = keys.map((key) => key.slice(policyKey("").length)).toSorted();
  const [only] = names;
  if (only === undefined) return new UsageProblem("the store holds no tenant; `postern apply` publishes one");
  if (names.length > 1) return new UsageProblem(`--tenant is needed; the store has ${names.join(", ")}`);
  return only;
}
