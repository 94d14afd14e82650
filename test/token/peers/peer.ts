/**
 * Other macaroon libraries as Debian packages them, each in a process of its own that is asked line by line.
 *
 * Where a package is not installed, its peer is left out and the run says so.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type Version = "v1" | "v2" | "json";

export type Command =
  | {
      readonly command: "mint";
      readonly version: Version;
      readonly location: string;
      readonly key: string;
      readonly identifier: string;
      readonly caveats: readonly string[];
    }
  | {
      readonly command: "attenuate";
      readonly version: Version;
      readonly token: string;
      readonly caveats: readonly string[];
    }
  | {
      readonly command: "third-party";
      readonly version: Version;
      readonly token: string;
      readonly location: string;
      readonly key: string;
      readonly identifier: string;
    }
  | {
      /** The discharge as it is sent with this token. */
      readonly command: "bind";
      readonly version: Version;
      readonly token: string;
      readonly discharge: string;
    }
  | {
      readonly command: "verify";
      readonly token: string;
      readonly key: string;
      /** Those that are satisfied. */
      readonly caveats: readonly string[];
      /** Bound. */
      readonly discharges: readonly string[];
    };

interface Answer {
  readonly token?: string;
  readonly ok?: boolean;
}

export interface Library {
  readonly name: string;
  readonly packages: readonly string[];
  readonly versions: readonly Version[];
  /** The command that runs it; `undefined` where a package is not installed. */
  readonly start: () => readonly string[] | undefined;
}

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
/** Debian's own: another one in the path does not find Debian's packages. */
export const PYTHON = "/usr/bin/python3";
const GO_SOURCE = "/usr/share/gocode/src/gopkg.in/macaroon.v2";

function python(script: string, needs: string): readonly string[] | undefined {
  return spawnSync(PYTHON, ["-c", needs]).status === 0 ? [PYTHON, here(script)] : undefined;
}

export const LIBRARIES: readonly Library[] = [
  {
    name: "libmacaroons",
    packages: ["libmacaroons-dev", "python3"],
    versions: ["v1"],
    start: () => python("libmacaroons_peer.py", "import ctypes; ctypes.CDLL('libmacaroons.so.0')"),
  },
  {
    name: "pymacaroons",
    packages: ["python3-pymacaroons"],
    versions: ["v1", "v2", "json"],
    start: () => python("pymacaroons_peer.py", "import pymacaroons"),
  },
  {
    name: "go-macaroon",
    packages: ["golang-gopkg-macaroon.v2-dev", "golang-go"],
    versions: ["v1", "v2", "json"],
    start: () => {
      if (!existsSync(GO_SOURCE)) return undefined;
      const directory = mkdtempSync(join(tmpdir(), "postern-go-"));
      const program = join(directory, "peer");
      const env = {
        ...process.env,
        GO111MODULE: "off",
        GOPATH: "/usr/share/gocode",
        GOCACHE: join(directory, "cache"),
        CGO_ENABLED: "0",
      };
      const built = spawnSync("go", ["build", "-o", program, here("gomacaroon/main.go")], { env });
      return built.status === 0 ? [program] : undefined;
    },
  },
];

export class Peer {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor([program = "", ...args]: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("the peer has no output");
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async token(command: Exclude<Command, { command: "verify" }>): Promise<string> {
    const { token } = await this.#ask(command);
    if (token === undefined) throw new Error(`no token came out of ${JSON.stringify(command)}`);
    return token;
  }

  async accepts(
    token: string,
    key: string,
    caveats: readonly string[],
    discharges: readonly string[] = [],
  ): Promise<boolean> {
    return (await this.#ask({ command: "verify", token, key, caveats, discharges })).ok === true;
  }

  end(): void {
    this.#child.stdin?.end();
  }

  async #ask(command: Command): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the peer has ended");
    return JSON.parse(value) as Answer;
  }
}
