/** Time as one process has it: nothing compares it with another process's. */
export interface Clock {
  /** Monotonic, ms from any beginning. */
  now_ms(): number;
  /** Resolves after so long by this clock. */
  sleep(ms: number): Promise<void>;
}
