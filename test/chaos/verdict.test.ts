/** The verdict is judged before it judges: it passes what is right, and finds each mistake that a cluster could make. */
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { type Attempt, definite, History, type Intent } from "./history.ts";
import { ACTOR, type Mistake, type Recorded, recorded } from "./recorded.ts";
import { judgeEvents, judgeHistory } from "./verdict.ts";

const SEEDS = Array.from({ length: 40 }, (_, seed) => seed);
const judge = ({ history, finals }: Pick<Recorded, "history" | "finals">): string[] =>
  judgeHistory(history, finals);

it("passes what a cluster records that does as it should", () => {
  for (const seed of SEEDS) {
    const { history, finals } = recorded(new Seeded(seed));
    expect(judge({ history, finals }), `seed ${seed}`).toEqual([]);
    const endings = history.intents.flatMap(({ attempts }) => attempts.map(({ ending }) => ending));
    expect(new Set(endings)).toEqual(new Set(["acknowledged", "refused", "ambiguous", "no_effect"]));
  }
});

describe("finds a cluster that", () => {
  it.each<Mistake>(["acknowledges too early", "forgets keys", "reads without asking", "ignores the order"])(
    "%s",
    (mistake) => {
      let made = 0;
      for (const seed of SEEDS) {
        const run = recorded(new Seeded(seed), mistake);
        if (run.mistakes === 0) continue;
        made++;
        const [problem] = judge(run);
        expect(problem, `seed ${seed}, ${run.mistakes} mistakes`).toMatch(
          /^account\/chaos-1-1: (?:not linearizable|its last balance)/,
        );
      }
      expect(made).toBeGreaterThan(30);
    },
  );
});

describe("finds a record in which", () => {
  const good = recorded(new Seeded(1));
  const acknowledged = good.history.intents.filter(
    (intent) => definite(intent)?.ending === "acknowledged" && intent.input.message === "deposit",
  );

  /** The record with one intent changed. */
  function changed(which: Intent | undefined, change: (intent: Intent) => Intent | undefined): string[] {
    const history = new History();
    for (const intent of good.history.intents) {
      const kept = intent === which ? change(intent) : intent;
      if (kept !== undefined) history.record(kept);
    }
    return judge({ history, finals: good.finals });
  }

  const withAttempts = (intent: Intent, change: (attempt: Attempt) => Attempt): Intent => ({
    ...intent,
    attempts: intent.attempts.map(change),
  });

  it.each([0, 10, 50])("the answer of acknowledgement %i is another", (at) => {
    const [problem] = changed(acknowledged[at], (intent) =>
      withAttempts(intent, (attempt) =>
        attempt === definite(intent) ? { ...attempt, answer: Number(attempt.answer) + 1 } : attempt,
      ),
    );
    expect(problem).toContain("not linearizable");
  });

  it("an acknowledged deposit is in no balance", () => {
    const [last] = acknowledged.slice(-1);
    const finals = new Map([[ACTOR, Number(good.finals.get(ACTOR)) - (last?.input.amount ?? 0)]]);
    expect(judge({ history: good.history, finals })).toEqual([expect.stringContaining("adds up to")]);
  });

  it("a balance holds what nobody deposited", () => {
    expect(changed(acknowledged[10], () => undefined)).toHaveLength(1);
  });

  it("a call was never answered", () => {
    const [problem] = changed(acknowledged[10], (intent) =>
      withAttempts(intent, (attempt) => ({ ...attempt, ending: "ambiguous" })),
    );
    expect(problem).toContain("1 calls were never answered");
  });
});

it("a run in which too little happened proves nothing", () => {
  const { history } = recorded(new Seeded(1));
  const events = {
    mischief: new Map([["kill", 2]]),
    faults: new Map([["hang", 1]]),
    failovers: new Map(),
    stepDowns: 0,
  };
  expect(judgeEvents(history, ["chaos-1"], ["kill", "hang"], events)).toEqual([]);
  expect(judgeEvents(history, ["chaos-1", "chaos-2"], ["kill", "pause", "hang", "twice"], events)).toEqual([
    "no pause happened",
    "no twice happened",
    "nothing of chaos-2 was acknowledged",
  ]);
});
