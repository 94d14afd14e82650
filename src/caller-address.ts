/** Where the caller's address comes from: this node's own socket and proxies, or the node that passed the call on. */
import { CLIENT_HEADER, Vouching } from "./cluster/vouching.ts";
import type { Address, Range } from "./ip.ts";
import { clientAddress } from "./request/client-address.ts";
import type { Tenant } from "./tenants.ts";

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
   * @param vouching by the master key; or by an edge node's
   */
  constructor(proxies: readonly Range[], vouching: Vouching) {
    this.#proxies = proxies;
    this.#vouching = vouching;
  }

  /**
   * @param peer the other end of the socket
   * @param passedOn the request says that it comes from another node, for this tenant
   * @returns `undefined` where nobody who is believed has told it
   */
  of({ headers }: Request, peer: string | undefined, passedOn: Tenant | undefined): Address | undefined {
    if (passedOn !== undefined) return this.#vouched(headers, passedOn);
    const [xForwardedFor, forwarded] = [headers.get("x-forwarded-for"), headers.get("forwarded")];
    return clientAddress({ peer, xForwardedFor, forwarded }, this.#proxies);
  }

  #vouched(headers: Headers, { edges }: Tenant): Address | undefined {
    const value = headers.get(CLIENT_HEADER);
    const edge = Vouching.edgeOf(value);
    if (edge === undefined) return this.#vouching.read(value, signatureOf(headers));
    const key = edges.get(edge);
    return key && new Vouching(key, edge).read(value, signatureOf(headers));
  }

  /** The header that tells the next node. */
  passOn({ headers }: Request, address: Address | undefined): Readonly<Record<string, string>> {
    return address === undefined
      ? {}
      : { [CLIENT_HEADER]: this.#vouching.write(address, signatureOf(headers)) };
  }
}

const signatureOf = (headers: Headers): string => headers.get("signature") ?? "";
