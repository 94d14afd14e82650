/** Where the caller's address comes from: this node's own socket and proxies, or the node that passed the call on. */
import { CLIENT_HEADER, Vouching } from "./cluster/vouching.ts";
import type { Address, Range } from "./ip.ts";
import { clientAddress } from "./request/client-address.ts";
import type { Secret } from "./secret.ts";

/** What the server hands over with a request. */
export interface Connection {
  /** The address at the other end of the socket; `undefined` where there is none. */
  readonly peer: string | undefined;
}

export class CallerAddress {
  readonly #proxies: readonly Range[];
  readonly #vouching: Vouching;

  /**
   * @param proxies addresses whose `X-Forwarded-For` and `Forwarded` are believed
   * @param secret what this node vouches with: the master key, or an edge node's own
   */
  constructor(proxies: readonly Range[], secret: Secret) {
    this.#proxies = proxies;
    this.#vouching = new Vouching(secret);
  }

  /**
   * @param peer the other end of the socket
   * @param passedOn the request says that it comes from another node
   * @param edgeKey of the edge node that it comes from, if it is one
   * @returns `undefined` where nobody who is believed has told it
   */
  of(
    { headers }: Request,
    peer: string | undefined,
    passedOn: boolean,
    edgeKey?: Secret,
  ): Address | undefined {
    const vouching = edgeKey === undefined ? this.#vouching : new Vouching(edgeKey);
    if (passedOn) return vouching.read(headers.get(CLIENT_HEADER), signatureOf(headers));
    const [xForwardedFor, forwarded] = [headers.get("x-forwarded-for"), headers.get("forwarded")];
    return clientAddress({ peer, xForwardedFor, forwarded }, this.#proxies);
  }

  /** The header that tells the next node. */
  passOn({ headers }: Request, address: Address | undefined): Readonly<Record<string, string>> {
    return address === undefined
      ? {}
      : { [CLIENT_HEADER]: this.#vouching.write(address, signatureOf(headers)) };
  }
}

const signatureOf = (headers: Headers): string => headers.get("signature") ?? "";
