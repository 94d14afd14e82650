/**
 * Compiled protocols by their text, the least recently used forgotten first.
 *
 * Bounded in entries and in bytes, because any holder can attenuate a new text into being. Refusals are kept like
 * automata: a hostile text costs its work budget once. Labels are no part of an expression, so the equal halves of
 * a split share an automaton. Each gateway has its own cache; nothing here is global.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import { PROTOCOL_BYTES_MAX, PROTOCOL_CACHE_BYTES_MAX, PROTOCOL_CACHE_ENTRIES_MAX } from "../limits.ts";
import { type Automaton, compileProtocol } from "./automaton.ts";

export interface ProtocolCache {
  /** Compiles an expression, or remembers what that gave. @returns as `compileProtocol` does. */
  get(expression: string): Automaton | Refusal;
  readonly size: number;
}

interface Entry {
  readonly compiled: Automaton | Refusal;
  readonly bytes: number;
}

export function createProtocolCache(
  entriesMax = PROTOCOL_CACHE_ENTRIES_MAX,
  bytesMax = PROTOCOL_CACHE_BYTES_MAX,
): ProtocolCache {
  // A Map iterates in order of insertion: the first key is the one used longest ago.
  const entries = new Map<string, Entry>();
  let bytes = 0;

  function keep(key: string, entry: Entry): void {
    entries.set(key, entry);
    bytes += entry.bytes;
    for (const [oldest, { bytes: freed }] of entries) {
      if (entries.size <= entriesMax && bytes <= bytesMax) break;
      entries.delete(oldest);
      bytes -= freed;
    }
  }

  return {
    get(expression) {
      const entry = entries.get(expression);
      if (entry !== undefined) {
        entries.delete(expression);
        entries.set(expression, entry);
        return entry.compiled;
      }
      const compiled = compileProtocol(expression);
      if (expression.length <= PROTOCOL_BYTES_MAX)
        keep(expression, { compiled, bytes: sizeBytes(expression, compiled) });
      return compiled;
    },
    get size() {
      return entries.size;
    },
  };
}

/** About what an entry holds on to: its texts, its packed table, and the objects around them. */
function sizeBytes(expression: string, compiled: Automaton | Refusal): number {
  const overhead = 512;
  if (isRefusal(compiled)) return overhead + expression.length + compiled.detail.length;
  const perMessage = 100;
  return overhead + expression.length + perMessage * compiled.alphabet.length + compiled.sizeBytes;
}
