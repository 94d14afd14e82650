/** A progress bar with the time that is left, for work whose size is known. */
import type { Progress } from "../store-walk.ts";
import type { Environment } from "./command.ts";

const WIDTH = 24;
/** Often enough to be seen to move, seldom enough to cost nothing. */
const REFRESH_MS = 100;

export function progressBar(environment: Pick<Environment, "status" | "now_ms">, what: string): Progress {
  const started_ms = environment.now_ms();
  let shown_ms = started_ms;
  return (done, total, bytes) => {
    const now_ms = environment.now_ms();
    if (done === total) return environment.status("");
    if (now_ms - shown_ms < REFRESH_MS) return;
    shown_ms = now_ms;
    const share = done / total;
    const bar = "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "░");
    const left = duration(((now_ms - started_ms) * (1 / share - 1)) / 1000);
    environment.status(`${what} ${bar} ${done} of ${total} objects, ${megabytes(bytes)}, about ${left} left`);
  };
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function duration(s: number): string {
  const min = Math.round(s / 60);
  if (s < 100) return `${Math.ceil(s)} s`;
  return min < 60 ? `${min} min` : `${Math.floor(min / 60)} h ${min % 60} min`;
}
