/**
 * Points of secp256k1 where nothing is secret: g·G + k·P for the verification of signatures, in variable time.
 *
 * A multiple of a point is a sum of entries of its table: the larger the table, the fewer doublings it takes. Coordinates are Jacobian, x = X/Z², y = Y/Z³, so that a sum takes eleven
 * multiplications and no inversion; table entries are affine. Formulas: https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-0.html
 */
import { schnorr } from "@noble/curves/secp256k1.js";

/** p = 2^256 − FOLD */
const { Fp } = schnorr.Point;
const P = Fp.ORDER;
const MINUS_P = -P;
const FOLD = 2n ** 256n - P;
const MASK = 2n ** 256n - 1n;

/**
 * A number that is the same modulo p, for |value| < 2^520: more than −2^75 and less than 2^256 + 2^75.
 * 2^256 = FOLD modulo p, so what stands above bit 256 comes back below it, multiplied by 33 bits; and once more.
 * A quarter faster than `%`.
 */
function folded(value: bigint): bigint {
  const once = (value & MASK) + (value >> 256n) * FOLD;
  return (once & MASK) + (once >> 256n) * FOLD;
}

/** Whether a difference of two folded numbers, which is less than 2p either way, is 0 modulo p. */
const isZero = (difference: bigint): boolean =>
  difference === 0n || difference === P || difference === MINUS_P;

export interface Affine {
  readonly x: bigint;
  readonly y: bigint;
}

/** In Jacobian coordinates, folded; the point at infinity where z is 0. */
class Jacobian {
  x: bigint;
  y: bigint;
  z: bigint;

  constructor(x = 1n, y = 1n, z = 0n) {
    this.x = x;
    this.y = y;
    this.z = z;
  }

  copy(): Jacobian {
    return new Jacobian(this.x, this.y, this.z);
  }

  double(): void {
    const { x, y, z } = this;
    const yy = folded(y * y);
    const s = folded(4n * x * yy);
    const m = 3n * folded(x * x);
    this.x = folded(m * m - 2n * s);
    this.y = folded(m * (s - this.x) - 8n * yy * yy);
    this.z = folded(2n * y * z);
  }

  doubleTimes(times: number): void {
    for (let time = 0; time < times; time++) this.double();
  }

  add(x2: bigint, y2: bigint): void {
    const { x, y, z } = this;
    if (z === 0n) {
      this.x = x2;
      this.y = y2;
      this.z = 1n;
      return;
    }
    const zz = folded(z * z);
    const h = folded(x2 * zz) - x;
    const r = folded(y2 * folded(z * zz)) - y;
    if (isZero(h)) {
      // The same x: the same point, or its negative.
      if (isZero(r)) this.double();
      else this.z = 0n;
      return;
    }
    const hh = folded(h * h);
    const hhh = folded(h * hh);
    const v = folded(x * hh);
    this.x = folded(r * r - hhh - 2n * v);
    this.y = folded(r * (v - this.x) - y * hhh);
    this.z = folded(z * h);
  }
}

/** The inverses of numbers that are not 0 modulo p, with one inversion for all of them (Montgomery's trick). */
function inverses(values: readonly bigint[]): readonly bigint[] {
  const before: bigint[] = [];
  let product = 1n;
  for (const value of values) {
    before.push(product);
    product = folded(product * value);
  }
  let inverse = Fp.inv(Fp.create(product));
  const inverted: bigint[] = [];
  for (const [back, value] of values.toReversed().entries()) {
    inverted.push(folded(inverse * (before[values.length - 1 - back] ?? 0n)));
    inverse = folded(inverse * value);
  }
  return inverted.toReversed();
}

/** Points that are not at infinity, in affine coordinates modulo p. */
function toAffine(points: readonly Jacobian[]): readonly Affine[] {
  const inverted = inverses(points.map(({ z }) => z));
  return points.map(({ x, y }, index) => {
    const inverse = inverted[index] ?? 0n;
    const squared = folded(inverse * inverse);
    return { x: Fp.create(x * squared), y: Fp.create(y * folded(squared * inverse)) };
  });
}

/**
 * λ·(x, y) = (β·x, y), where λ³ = 1 modulo n and β³ = 1 modulo p; and two short vectors (a, b) with a + b·λ = 0 modulo n.
 * Gallant, Lambert, Vanstone, "Faster point multiplication on elliptic curves with efficient endomorphisms", 2001.
 */
const BETA = 0x7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501een;
const A1 = 0x3086d221a7d46bcde86c90e49284eb15n;
const B1 = -0xe4437ed6010e88286f547fa90abfe4c3n;
const A2 = 0x114ca50f7a8e2f3f657c1108d9d44cfd8n;
const B2 = A1;

/** k = k1 + k2·λ modulo n, with both halves less than 2^129 either way. @param k 0 ≤ k < n */
function halvesOf(k: bigint): readonly [k1: bigint, k2: bigint] {
  const n = schnorr.Point.Fn.ORDER;
  const c1 = (B2 * k + n / 2n) / n;
  const c2 = (n / 2n - B1 * k) / n;
  return [k - c1 * A1 - c2 * A2, -c1 * B1 - c2 * B2];
}

/** Digits of a half, with room for the last carry. */
const placesOf = (bits: number): number => Math.ceil(130 / bits);

/** A half in signed digits of so many bits, the lowest first: −2^(bits−1) ≤ digit ≤ 2^(bits−1). */
function digitsOf(half: bigint, bits: number): readonly number[] {
  const sign = half < 0n ? -1 : 1;
  const magnitude = half < 0n ? -half : half;
  // Words of 32 bits are numbers, and cheaper to cut than a bigint.
  const words = Array.from({ length: 5 }, (_, i) => Number((magnitude >> BigInt(32 * i)) & 0xffff_ffffn));
  const all = 2 ** bits;
  let carry = 0;
  return Array.from({ length: placesOf(bits) }, (_, place) => {
    const word = (place * bits) >>> 5;
    const shift = (place * bits) & 31;
    const low = (words[word] ?? 0) >>> shift;
    const high = shift + bits > 32 ? (words[word + 1] ?? 0) << (32 - shift) : 0;
    const digit = ((low | high) & (all - 1)) + carry;
    carry = digit >= all / 2 ? 1 : 0;
    return sign * (digit - carry * all);
  });
}

/**
 * Multiples of one point, ready to be added.
 *
 * The digits of a scalar's halves fall into `blocks` classes by their place. What the digits of one class stand for is a
 * sum of entries; from one class to the next the sum is doubled `bits` times, and the table has so many times fewer
 * entries. Both halves use the same entries: the second one those of λ·point.
 */
export class Table {
  readonly #bits: number;
  readonly #blocks: number;
  /** For every place of the lowest class d·2^(bits·place)·point, for d = 1 … 2^(bits−1). */
  readonly #rows: readonly (readonly Affine[])[];

  constructor(point: Affine, { bits, blocks }: TableForm) {
    this.#bits = bits;
    this.#blocks = blocks;
    const half = 2 ** (bits - 1);
    const base = new Jacobian(point.x, point.y, 1n);
    const bases = [base.copy()];
    for (let place = blocks; place < placesOf(bits); place += blocks) {
      base.doubleTimes(bits * blocks);
      bases.push(base.copy());
    }
    const multiples = toAffine(bases).flatMap(({ x, y }) => {
      const multiple = new Jacobian();
      return Array.from({ length: half }, () => {
        multiple.add(x, y);
        return multiple.copy();
      });
    });
    const entries = toAffine(multiples);
    this.#rows = bases.map((_, row) => entries.slice(row * half, (row + 1) * half));
  }

  /** Adds scalar·point to a sum that has nothing in it yet, or to any where the table is of one block. */
  addMultiple(scalar: bigint, sum: Jacobian): void {
    const [first, second] = halvesOf(scalar).map((half) => digitsOf(half, this.#bits));
    for (let block = this.#blocks - 1; block >= 0; block--) {
      for (const [row, entries] of this.#rows.entries()) {
        const place = row * this.#blocks + block;
        addEntry(sum, entries, first?.[place] ?? 0, 1n);
        addEntry(sum, entries, second?.[place] ?? 0, BETA);
      }
      if (block > 0) sum.doubleTimes(this.#bits);
    }
  }
}

/** Digits of so many bits, in so many blocks. With as many blocks as there are digits a table has one row. */
export interface TableForm {
  readonly bits: number;
  readonly blocks: number;
}

/** For a point that is used once: making the table is part of the work. */
export const ONE_ROW: TableForm = { bits: 5, blocks: placesOf(5) };
const GENERATOR: TableForm = { bits: 8, blocks: 1 };

function addEntry(sum: Jacobian, entries: readonly Affine[], digit: number, beta: bigint): void {
  const entry = entries[Math.abs(digit) - 1];
  if (entry === undefined) return;
  const x = beta === 1n ? entry.x : folded(beta * entry.x);
  sum.add(x, digit < 0 ? P - entry.y : entry.y);
}

let generator: Table | undefined;

/** g·G + k·point, for the point of a table. @returns `undefined` where it is the point at infinity */
export function combination(g: bigint, point: Table, k: bigint): Affine | undefined {
  generator ??= new Table(schnorr.Point.BASE.toAffine(), GENERATOR);
  const sum = new Jacobian();
  point.addMultiple(k, sum);
  generator.addMultiple(g, sum);
  return sum.z === 0n ? undefined : toAffine([sum])[0];
}
