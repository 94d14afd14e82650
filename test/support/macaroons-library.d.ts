/** The part of macaroons.js that we use; the package ships types for its files, but none for its entry. */
declare module "macaroons.js" {
  interface Packet {
    readonly type: number;
    readonly rawValue: Uint8Array;
  }
  export interface PacketMacaroon {
    readonly location: string | null;
    readonly identifier: string | null;
    /** Hex. */
    readonly signature: string | undefined;
    readonly signatureBuffer: Uint8Array | null;
    readonly caveatPackets: readonly Packet[];
    serialize(): string;
  }
  export interface Builder {
    add_first_party_caveat(caveat: string): Builder;
    add_third_party_caveat(location: string, secret: string, identifier: string): Builder;
    getMacaroon(): PacketMacaroon;
  }
  export interface Verifier {
    satisfyExact(caveat: string): Verifier;
    satisfyGeneral(check: (caveat: string) => boolean): Verifier;
    isValid(secret: string | Uint8Array): boolean;
  }
  const macaroons: {
    readonly MacaroonsDeSerializer: { deserialize(text: string): PacketMacaroon };
    readonly MacaroonsBuilder: {
      new (location: string, secret: string | Uint8Array, identifier: string): Builder;
      modify(macaroon: PacketMacaroon): Builder;
    };
    readonly MacaroonsVerifier: new (macaroon: PacketMacaroon) => Verifier;
  };
  export default macaroons;
}
