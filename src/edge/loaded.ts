/**
 * The worker around one handler that was loaded at run time: an isolate of its own, without bindings and without network.
 *
 * It runs the same instrumented bytes in the same sandbox as everywhere. The handler's answer is read here, so the edge
 * node takes over what this code says of it.
 */
import { runDocument, type TurnResult } from "../dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { TURN_OUTPUT_BYTES_MAX } from "../limits.ts";

/** The field with the fuel of the turn whose input is the body. */
export const FUEL_HEADER = "postern-fuel";

export type LoadedAnswer =
  | { readonly ended: TurnResult }
  | { readonly refused: Pick<Refusal, "code" | "detail" | "facts"> };

export function loadedWorker(module: WebAssembly.Module): {
  fetch(request: Request): Promise<Response>;
} {
  return {
    async fetch(request) {
      const input = new Uint8Array(await request.arrayBuffer());
      const fuel = Number(request.headers.get(FUEL_HEADER));
      const outcome = runDocument(module, input, { fuel, output_bytes: TURN_OUTPUT_BYTES_MAX });
      return Response.json(answerOf(outcome));
    },
  };
}

function answerOf(outcome: TurnResult | Refusal): LoadedAnswer {
  if (!isRefusal(outcome)) return { ended: outcome };
  const { code, detail, facts } = outcome;
  return { refused: { code, detail, facts } };
}
