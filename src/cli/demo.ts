/**
 * `postern demo`: a tour over a real gateway.
 *
 * Every answer shown came over a socket; one that is not as expected fails the demo. Tokens and keys are made by
 * the commands that a user would type.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { styleText } from "node:util";
import { fetch } from "undici";
import { type Code, isRefusal } from "../errors.ts";
import type { Json } from "../json.ts";
import { type Caller, type CallOutcome, type SignedRequest, send, signCall } from "../sdk/client.ts";
import { decodeToken, encodeToken } from "../token/envelope.ts";
import { attenuate } from "./attenuate.ts";
import { type Command, type Environment, flag, UsageProblem, type Values } from "./command.ts";
import { type DemoApprovals, startDemoApprovals } from "./demo-approvals.ts";
import { type DemoGateway, startDemoGateway } from "./demo-gateway.ts";
import { discharge } from "./discharge.ts";
import { readSigner } from "./inputs.ts";
import { keygen } from "./keygen.ts";
import { mint } from "./mint.ts";

export const demo: Command = {
  name: "demo",
  summary: "a tour: start a gateway, call it, see what it refuses",
  usage: "[--keep]",
  options: { keep: { type: "boolean" } },
  help: { keep: "leave the gateway up and print a call to paste" },
  async run(environment, values) {
    const gateway = await startDemoGateway();
    try {
      const print = flag(values, "json")
        ? (line: string) => environment.note(line)
        : (line: string) => environment.write(`${line}\n`);
      const tour = new Tour(environment, gateway, print);
      await tour.show();
      if (flag(values, "keep")) await tour.keep();
      const { surprises } = tour;
      const text =
        surprises === 0 ? "Every answer was as expected." : `${surprises} answers were not as expected.`;
      return { json: { url: gateway.url, surprises }, text: `\n${text}`, failed: surprises > 0 };
    } finally {
      await gateway.stop();
    }
  },
};

/** Somebody with a key and a token for an actor. */
interface Party {
  readonly name: string;
  readonly actor: string;
  readonly keyFile: string;
  readonly publicKey: string;
  readonly caller: Caller;
}

class Tour {
  surprises = 0;
  readonly #environment: Environment;
  readonly #gateway: DemoGateway;
  readonly #print: (line: string) => void;

  constructor(environment: Environment, gateway: DemoGateway, print: (line: string) => void) {
    this.#environment = environment;
    this.#gateway = gateway;
    this.#print = print;
  }

  async show(): Promise<void> {
    await this.#account();
    await this.#release();
    await this.#approval();
  }

  async #account(): Promise<void> {
    this.#heading("Ada gets a token for account/42, bound to her key, and opens the account");
    const ada = await this.#party("ada", "account/42", {});
    await this.#admits(ada, "open", { owner: "Ada" });
    await this.#admits(ada, "deposit", { amount: 100 });

    this.#heading("She narrows it offline to deposits and balance; nobody was asked");
    const narrowed = this.#holding(
      ada,
      await this.#narrow(ada, { message: "deposit,balance", expires: "5m" }),
    );
    await this.#admits(narrowed, "deposit", { amount: 20 });
    await this.#admits(narrowed, "balance");

    this.#heading("What the gate refuses, and why");
    await this.#refuses("out of order", ada, "open", { owner: "Ada" }, "out_of_order");
    await this.#refuses("cut away by attenuation", narrowed, "withdraw", { amount: 1 }, "caveat_denied");
    await this.#refuses("a widened token", widened(narrowed), "withdraw", { amount: 1 }, "token_invalid");
    const late = await this.#party("late", "account/42", { expires: "2020-01-01T00:00:00Z" });
    await this.#refuses("an expired token", late, "balance", {}, "token_expired");
    const thief = await this.#thief(ada);
    await this.#refuses("a stolen token, another key", thief, "withdraw", { amount: 100 }, "caveat_denied");
    await this.#replay(ada);
    await this.#refuses("a wrong argument type", ada, "deposit", { amount: "five" }, "schema_violation");
    await this.#refuses("more than there is", ada, "withdraw", { amount: 1000 }, "handler_error");

    this.#heading("Ada takes the rest and closes; after that nothing is admitted any more");
    await this.#admits(ada, "withdraw", { amount: 90 });
    await this.#admits(ada, "balance");
    await this.#admits(ada, "close");
    await this.#refuses("after the end", ada, "deposit", { amount: 1 }, "out_of_order");
  }

  async #release(): Promise<void> {
    this.#heading("A bot may upload and publish release/7. Whether it is approved is for Rosa to say");
    const bot = await this.#party("bot", "release/7", {
      message: "upload,publish",
      protocol: "upload* ; publish",
    });
    const rosa = await this.#party("rosa", "release/7", { protocol: "review ; approve" });
    await this.#admits(bot, "upload", { file: "postern-1.0.tgz" }, "the bot uploads");
    await this.#refuses("it publishes at once", bot, "publish", {}, "out_of_order");
    await this.#refuses("it approves by itself", bot, "approve", {}, "caveat_denied");
    await this.#admits(rosa, "review", { freeze: true }, "Rosa reviews and freezes");
    await this.#refuses("the bot adds a file", bot, "upload", { file: "late.tgz" }, "out_of_order");
    await this.#refuses("the bot publishes", bot, "publish", {}, "out_of_order");
    await this.#admits(rosa, "approve", {}, "Rosa approves");
    await this.#admits(bot, "publish", {}, "the bot publishes");
    await this.#refuses("and once is enough", bot, "publish", {}, "out_of_order");
  }

  async #approval(): Promise<void> {
    this.#heading(
      "A bot gets two tokens for account/44: one for up to 20, and one for more, for which it must ask Rosa",
    );
    const owner = await this.#party("olga", "account/44", {});
    await this.#admits(owner, "open", { owner: "Olga" }, "Olga opens the account");
    await this.#admits(owner, "deposit", { amount: 100 }, "and puts 100 on it");
    const rosa = await this.#run(keygen, { alg: "x25519" });
    const approvals = await startDemoApprovals(this.#environment, String(rosa["secret_key"]));
    try {
      const bot = await this.#party("buyer", "account/44", { protocol: "withdraw*" });
      const little = this.#holding(bot, await this.#narrow(bot, { when: "args.amount <= 20" }));
      const wish = "account/44: withdraw more than 20";
      const asking = `${approvals.location}=${String(rosa["public_key"])}:${wish}`;
      const more = this.#holding(bot, await this.#narrow(bot, { "third-party": [asking] }));
      await this.#admits(little, "withdraw", { amount: 20 }, "the bot takes 20");
      await this.#refuses("it takes 50", little, "withdraw", { amount: 50 }, "caveat_denied");
      await this.#refuses("unasked, with the other", more, "withdraw", { amount: 50 }, "discharge_missing");
      const approved = this.#holding(more, await this.#ask(more, approvals, wish));
      await this.#refuses(
        "Rosa said up to 50, not 60",
        approved,
        "withdraw",
        { amount: 60 },
        "caveat_denied",
      );
      await this.#admits(approved, "withdraw", { amount: 50 }, "the bot takes 50");
      await this.#refuses("and once more", approved, "withdraw", { amount: 10 }, "caveat_denied");
    } finally {
      await approvals.stop();
    }
  }

  /** The bot asks and waits; meanwhile Rosa reads what waits for her, and says yes. */
  async #ask({ caller }: Party, approvals: DemoApprovals, wish: string): Promise<string> {
    const environment = {
      ...this.#environment,
      stdin: async () => caller.token,
      pause: async (ms: number) => {
        if (approvals.waiting.has(wish)) approvals.approve(wish, ["when = args.amount <= 50", "uses <= 1"]);
        return this.#environment.pause(ms);
      },
    };
    return String((await this.#run(discharge, { service: [approvals.location] }, environment))["token"]);
  }

  async keep(): Promise<void> {
    const grace = await this.#party("grace", "account/43", {});
    const tokenFile = join(this.#gateway.directory, "grace.token");
    writeFileSync(tokenFile, `${grace.caller.token}\n`, { mode: 0o600 });
    const call = `npx postern call account/43 open '{"owner":"Grace"}'`;
    this.#heading(`The gateway stays up at ${this.#gateway.url}; Ctrl-C ends it. From another terminal:`);
    this.#print(`  ${call} --url ${this.#gateway.url} --key ${grace.keyFile} --token ${tokenFile}`);
    await this.#environment.interrupted();
  }

  async #party(name: string, actor: string, flags: Values): Promise<Party> {
    const keyFile = join(this.#gateway.directory, `${name}.key`);
    const made = await this.#run(keygen, { out: keyFile });
    const publicKey = String(made["public_key"]);
    const minted = await this.#run(mint, { actor, holder: publicKey, store: this.#gateway.store, ...flags });
    const signer = await readSigner(this.#environment, keyFile);
    if (signer instanceof UsageProblem) throw new Error(signer.detail);
    const random = (length: number): Uint8Array => this.#environment.random(length);
    const caller: Caller = {
      url: this.#gateway.url,
      token: String(minted["token"]),
      signer,
      now_ms: () => this.#environment.now_ms(),
      random,
    };
    return { name, actor, keyFile, publicKey, caller };
  }

  #holding(party: Party, token: string): Party {
    return { ...party, caller: { ...party.caller, token } };
  }

  async #narrow({ caller }: Party, flags: Values): Promise<string> {
    const environment = { ...this.#environment, stdin: async () => caller.token };
    return String((await this.#run(attenuate, flags, environment))["token"]);
  }

  /** Has the token of another, but only a key of his own. */
  async #thief(victim: Party): Promise<Party> {
    const mallory = await this.#party("mallory", "account/666", {});
    return { ...this.#holding(mallory, victim.caller.token), actor: victim.actor };
  }

  async #run(
    command: Command,
    values: Values,
    environment = this.#environment,
  ): Promise<Record<string, unknown>> {
    const outcome = await command.run(environment, values, []);
    if (outcome instanceof UsageProblem || isRefusal(outcome))
      throw new Error(`${command.name}: ${outcome.detail}`);
    return outcome.json as Record<string, unknown>;
  }

  async #admits(party: Party, message: string, args: Json = {}, what?: string): Promise<void> {
    const outcome = await send(this.#sign(party, message, args), fetch);
    const ok = "result" in outcome;
    this.#line(ok, what ?? `${message} ${JSON.stringify(args)}`, describe(outcome));
  }

  async #refuses(what: string, party: Party, message: string, args: Json, code: Code): Promise<void> {
    this.#refusal(what, await send(this.#sign(party, message, args), fetch), code);
  }

  async #replay(party: Party): Promise<void> {
    const request = this.#sign(party, "balance", {});
    await send(request, fetch);
    this.#refusal("a replayed request", await send(request, fetch), "replayed");
  }

  #refusal(what: string, outcome: CallOutcome, code: Code): void {
    const ok = "problem" in outcome && outcome.problem.code === code;
    this.#line(ok, what, describe(outcome));
  }

  #sign({ caller, actor }: Party, message: string, args: Json): SignedRequest {
    return signCall(caller, { tenant: "demo", actor, message, args });
  }

  #heading(text: string): void {
    this.#print(`\n${this.#style("bold", text)}`);
  }

  #line(ok: boolean, what: string, answer: string): void {
    if (!ok) this.surprises++;
    const mark = ok ? this.#style("green", "✓") : this.#style("red", "✗ not as expected:");
    this.#print(`  ${mark} ${what.padEnd(28)} ${answer}`);
  }

  #style(style: "bold" | "green" | "red", text: string): string {
    return this.#environment.colour ? styleText(style, text, { validateStream: false }) : text;
  }
}

function describe(outcome: CallOutcome): string {
  if ("result" in outcome) return `${outcome.status} ${JSON.stringify(outcome.result)}`;
  const { status, code, detail, enabled } = outcome.problem;
  const [reason = ""] = detail.split(";");
  return `${status} ${code}: ${reason}${enabled === undefined ? "" : ` (now: ${enabled.join(", ") || "nothing"})`}`;
}

/** Takes the last caveat off and keeps the signature: all that a holder could try. */
function widened(party: Party): Party {
  const macaroon = decodeToken(party.caller.token);
  if (isRefusal(macaroon)) throw new Error(macaroon.detail);
  const token = encodeToken({ ...macaroon, unsafeCaveats: macaroon.unsafeCaveats.slice(0, -1) });
  return { ...party, caller: { ...party.caller, token } };
}
