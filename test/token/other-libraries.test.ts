/**
 * libmacaroons, pymacaroons and go-macaroon: what they mint and attenuate verifies here, what is minted here they
 * attenuate and verify, in every format that they write.
 */
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { fromUtf8, toBase64url, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate } from "../../src/token/chain.ts";
import { encodeJson } from "../../src/token/codec-json.ts";
import { encodeV1 } from "../../src/token/codec-v1.ts";
import { encodeV2 } from "../../src/token/codec-v2.ts";
import { bindDischarge, mintDischarge } from "../../src/token/discharge.ts";
import { decodeToken } from "../../src/token/envelope.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { boxPublicKey } from "../../src/token/sealed-box.ts";
import { openTicket, thirdPartyCaveat } from "../../src/token/third-party.ts";
import { verify } from "../../src/token/verify.ts";
import { anyIdentifier, IDENTIFIER, mint } from "./arbitrary.ts";
import { outcome, refused, taken } from "./outcome.ts";
import { LIBRARIES, Peer, type Version } from "./peers/peer.ts";

const KEY = "a root key that both sides know";
const SECRET = new Secret(utf8(KEY));
const LOCATION = "https://gate.example";

const SECRET_OF_SERVICE = new Secret(new Uint8Array(32).fill(9));

const encode: Readonly<Record<Version, (macaroon: Macaroon) => string>> = {
  v1: (macaroon) => toBase64url(taken(encodeV1(macaroon))),
  v2: (macaroon) => toBase64url(encodeV2(macaroon)),
  json: encodeJson,
};

/** Texts as all libraries take them; the Go and Python ones hold some to be no caveat where they are empty. */
const anyText = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
  .filter((text) => text.trim() !== "");
const anyCaveats = fc.uniqueArray(anyText, { maxLength: 4 });
const RUNS = { numRuns: 40 };

const textsOf = ({ unsafeCaveats }: Macaroon) => unsafeCaveats.map(({ cid }) => fromUtf8(cid));

const peers = LIBRARIES.flatMap((library) => {
  const { name, packages, start } = library;
  const command = start();
  if (command !== undefined) return [{ ...library, peer: new Peer(command) }];
  process.stderr.write(
    `LEFT OUT: ${name} is not installed. \`apt-get install --no-install-recommends ${packages.join(" ")}\` brings it\n`,
  );
  return [];
});
afterAll(() => {
  for (const { peer } of peers) peer.end();
});

describe.each(peers)("$name", ({ versions, peer }) => {
  describe.each(versions)("%s", (version) => {
    test("what it mints verifies here, with its caveats in order, and under no other key", async () => {
      await fc.assert(
        fc.asyncProperty(anyIdentifier, anyCaveats, async (identifier, caveats) => {
          const token = await peer.token({
            command: "mint",
            version,
            location: LOCATION,
            key: KEY,
            identifier,
            caveats,
          });
          const macaroon = taken(decodeToken(token));
          expect(macaroon.location).toBe(LOCATION);
          expect(taken(verify(macaroon, SECRET)).caveats.map(({ text }) => text)).toEqual(caveats);
          expect(outcome(verify(macaroon, new Secret(utf8(`${KEY}'`))))).toBe("token_invalid");
        }),
        RUNS,
      );
    });

    test("what is minted here and attenuated there verifies here", async () => {
      await fc.assert(
        fc.asyncProperty(anyCaveats, anyCaveats, async (ours, theirs) => {
          const token = encode[version]({ ...mint(ours, SECRET), location: LOCATION });
          const narrowed = await peer.token({ command: "attenuate", version, token, caveats: theirs });
          const macaroon = taken(decodeToken(narrowed));
          expect(textsOf(macaroon)).toEqual([...ours, ...theirs]);
          expect(outcome(verify(macaroon, SECRET))).toBe("taken");
        }),
        RUNS,
      );
    });

    test("what is minted and attenuated here it verifies, where every caveat is satisfied and nothing was changed", async () => {
      await fc.assert(
        fc.asyncProperty(anyCaveats, async (caveats) => {
          const macaroon = { ...mint(caveats, SECRET), location: LOCATION };
          const token = encode[version](macaroon);
          expect(await peer.accepts(token, KEY, caveats)).toBe(true);
          expect(await peer.accepts(token, `${KEY}'`, caveats)).toBe(false);
          if (caveats.length === 0) return;
          expect(await peer.accepts(token, KEY, caveats.slice(1))).toBe(false);
          const widened = { ...macaroon, unsafeCaveats: macaroon.unsafeCaveats.slice(1) };
          expect(await peer.accepts(encode[version](widened), KEY, caveats)).toBe(false);
        }),
        RUNS,
      );
    });

    test("its third-party caveats are links of the chain, and wait for their discharges", async () => {
      const token = encode[version]({ ...mint(["message in a"], SECRET), location: LOCATION });
      const third = { location: "https://auth.example", key: "a caveat key", identifier: "ask them" };
      const added = await peer.token({ command: "third-party", version, token, ...third });
      const narrowed = await peer.token({
        command: "attenuate",
        version,
        token: added,
        caveats: ["message in b"],
      });
      const macaroon = taken(decodeToken(narrowed));
      expect(textsOf(macaroon)).toEqual(["message in a", "ask them", "message in b"]);
      expect(macaroon.unsafeCaveats[1]?.vid).toHaveLength(24 + 16 + 32);
      expect(refused(verify(macaroon, SECRET))).toMatchObject({
        code: "discharge_missing",
        facts: {
          caveat: { index: 1, text: "third party https://auth.example" },
          discharges: [{ location: "https://auth.example", ticket: toBase64url(utf8("ask them")) }],
        },
      });
      // Without the caveat, or with another vid, the chain does not hold.
      const { unsafeCaveats } = macaroon;
      for (const caveats of [
        unsafeCaveats.toSpliced(1, 1),
        unsafeCaveats.with(1, { cid: utf8("ask them") }),
        unsafeCaveats.with(1, { cid: utf8("ask them"), vid: new Uint8Array(72) }),
      ])
        expect(outcome(verify({ ...macaroon, unsafeCaveats: caveats }, SECRET))).toBe("token_invalid");
      // And it reads what is written here as it was.
      expect(
        await peer.token({ command: "attenuate", version, token: encode[version](macaroon), caveats: [] }),
      ).toBe(await peer.token({ command: "attenuate", version, token: narrowed, caveats: [] }));
    });
  });
});

describe.each(peers)("discharges of $name", ({ versions, peer }) => {
  const third = { location: "https://auth.example", key: "a caveat key", identifier: "ask them" };

  describe.each(versions)("%s", (version) => {
    const root = async () => {
      const token = encode[version]({ ...mint(["message in a"], SECRET), location: LOCATION });
      return peer.token({ command: "third-party", version, token, ...third });
    };
    const theirs = (caveats: readonly string[]) =>
      peer.token({ command: "mint", version, ...third, caveats });

    test("what it mints and binds discharges its own caveat here", async () => {
      await fc.assert(
        fc.asyncProperty(anyCaveats, async (caveats) => {
          const token = await root();
          const unbound = await theirs(caveats);
          const discharge = await peer.token({ command: "bind", version, token, discharge: unbound });
          const [macaroon, bound] = [taken(decodeToken(token)), taken(decodeToken(discharge))];
          const verified = taken(verify(macaroon, SECRET, [bound]));
          expect(verified.discharges.map((chain) => chain.caveats.map(({ text }) => text))).toEqual([
            caveats,
          ]);
          expect(outcome(verify(macaroon, SECRET, [taken(decodeToken(unbound))]))).toBe("token_invalid");
        }),
        RUNS,
      );
    });

    test("what is bound here it verifies, and what it mints is bound here as there", async () => {
      const token = await root();
      const macaroon = taken(decodeToken(token));
      const ours = taken(
        mintDischarge(utf8(third.identifier), new Secret(utf8(third.key)), ["b = 1"], third.location),
      );
      const bound = encode[version](bindDischarge(ours, macaroon));
      expect(await peer.accepts(token, KEY, ["message in a", "b = 1"], [bound])).toBe(true);
      expect(await peer.accepts(token, KEY, ["message in a"], [bound])).toBe(false);
      expect(await peer.accepts(token, KEY, ["message in a", "b = 1"], [encode[version](ours)])).toBe(false);
      const unbound = await theirs(["b = 1"]);
      expect(encode[version](bindDischarge(taken(decodeToken(unbound)), macaroon))).toBe(
        encode[version](
          taken(decodeToken(await peer.token({ command: "bind", version, token, discharge: unbound }))),
        ),
      );
    });

    test("a third party's caveat that was added here it verifies with its discharge, and not without", async () => {
      const caveat = taken(
        thirdPartyCaveat(
          { location: third.location, publicKey: boxPublicKey(SECRET_OF_SERVICE), condition: "please" },
          (length) => new Uint8Array(length).fill(3),
        ),
      );
      const macaroon = taken(
        attenuate({ ...mint([], SECRET), location: LOCATION }, ["a = 1", caveat, "b = 2"]),
      );
      const { rootKey } = openTicket(caveat.ticket, SECRET_OF_SERVICE) ?? {};
      const discharge = taken(mintDischarge(caveat.ticket, rootKey ?? SECRET, ["c = 3"], third.location));
      const bound = encode[version](bindDischarge(discharge, macaroon));
      const token = encode[version](macaroon);
      expect(await peer.accepts(token, KEY, ["a = 1", "b = 2", "c = 3"], [bound])).toBe(true);
      expect(await peer.accepts(token, KEY, ["a = 1", "b = 2", "c = 3"], [])).toBe(false);
    });
  });
});

test("all of them agree on the signature of one token", async () => {
  const caveats = ["actor = account/alice", "expires < 2031-01-01T00:00:00Z"];
  const ours = toBase64url(mint(caveats, SECRET).signature);
  const fields = { location: LOCATION, key: KEY, identifier: IDENTIFIER, caveats };
  for (const { peer } of peers) {
    const token = await peer.token({ command: "mint", version: "v1", ...fields });
    expect(toBase64url(taken(decodeToken(token)).signature)).toBe(ours);
  }
});
