/**
 * Derivatives of protocol expressions (Brzozowski 1964; Owens, Reppy, Turon 2009), interleaving included.
 *
 * Nodes are immutable and interned, built by constructors that put similar expressions into one form; so an
 * expression has finitely many derivatives (Brzozowski, theorem 5.2), and equal ones are the same object.
 * No node but `empty` denotes the empty language: the constructors annihilate. What is admitted next is therefore
 * exactly what has a derivative (Gordon 2025). Interner and work budget live as long as one compile.
 */
import type { Budget } from "./budget.ts";
import type { Protocol } from "./grammar.ts";

/** An interned expression. Two nodes of one `NodeTable` are similar exactly if they are the same object. */
export type Node = Shape & {
  /** Number within its table, in order of construction. */
  readonly id: number;
  /** Does its language contain the empty word? */
  readonly nullable: boolean;
};

type Shape =
  | { readonly kind: "empty" | "end" }
  | { readonly kind: "message"; readonly name: string }
  /** Two or more parts, none a choice, each once, in order of id. */
  | { readonly kind: "choice"; readonly parts: readonly Node[] }
  /** Two or more parts, none a shuffle, in order of id. */
  | { readonly kind: "shuffle"; readonly parts: readonly Node[] }
  /** `head` is never a seq. */
  | { readonly kind: "seq"; readonly head: Node; readonly tail: Node }
  | { readonly kind: "repeat"; readonly body: Node; readonly min: number; readonly max: number };

/** For each message that can come next, what remains after it; never `empty`. */
export type Gradient = ReadonlyMap<string, Node>;

export class NodeTable {
  readonly empty: Node;
  readonly end: Node;
  readonly #nodes = new Map<string, Node>();
  readonly #gradients = new Map<Node, Gradient>();
  /** Spent by nodes asked for, each with its parts, whether they existed before or not. */
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
    this.empty = this.#intern("0", false, { kind: "empty" });
    this.end = this.#intern("1", true, { kind: "end" });
  }

  /** Once the budget is spent every constructor answers `empty`, so that all work ends soon and means nothing. */
  get exhausted(): boolean {
    return this.#budget.exhausted;
  }

  from(protocol: Protocol): Node {
    switch (protocol.kind) {
      case "end":
        return this.end;
      case "message":
        return this.message(protocol.name);
      case "choice":
        return this.choice(protocol.parts.map((part) => this.from(part)));
      case "shuffle":
        return this.shuffle(protocol.parts.map((part) => this.from(part)));
      case "seq":
        return protocol.parts.reduceRight((tail, part) => this.seq(this.from(part), tail), this.end);
      case "repeat":
    }
    return this.repeat(this.from(protocol.body), protocol.min, protocol.max);
  }

  message(name: string): Node {
    if (!this.#spend(1)) return this.empty;
    return this.#intern(`m${name}`, false, { kind: "message", name });
  }

  /** r|r = r, r|s = s|r, (r|s)|t = r|(s|t), ∅|r = r; and ε|r = r where r is nullable. */
  choice(nodes: readonly Node[]): Node {
    const [first = this.empty] = nodes;
    if (nodes.length <= 1) return first;
    const distinct = new Set<Node>();
    for (const node of nodes) {
      if (!this.#spend(node.kind === "choice" ? node.parts.length : 1)) return this.empty;
      if (node.kind === "choice") for (const part of node.parts) distinct.add(part);
      else if (node !== this.empty) distinct.add(node);
    }
    if (distinct.delete(this.end) && !some(distinct, (part) => part.nullable)) distinct.add(this.end);
    const [only = this.empty] = distinct;
    if (distinct.size <= 1) return only;
    const parts = [...distinct].toSorted(byId);
    return this.#intern(
      keyOf("|", parts),
      some(parts, (part) => part.nullable),
      { kind: "choice", parts },
    );
  }

  /** r&s = s&r, (r&s)&t = r&(s&t), ε&r = r, ∅&r = ∅. */
  shuffle(nodes: readonly Node[]): Node {
    const parts: Node[] = [];
    for (const node of nodes) {
      if (node === this.empty) return this.empty;
      if (!this.#spend(node.kind === "shuffle" ? node.parts.length : 1)) return this.empty;
      if (node.kind === "shuffle") parts.push(...node.parts);
      else if (node !== this.end) parts.push(node);
    }
    const [only = this.end] = parts;
    if (parts.length <= 1) return only;
    parts.sort(byId);
    return this.#intern(
      keyOf("&", parts),
      parts.every((part) => part.nullable),
      { kind: "shuffle", parts },
    );
  }

  /** (r;s);t = r;(s;t), ε;r = r;ε = r, ∅;r = r;∅ = ∅. */
  seq(head: Node, tail: Node): Node {
    if (head === this.empty || tail === this.empty || !this.#spend(1)) return this.empty;
    if (head === this.end) return tail;
    if (tail === this.end) return head;
    if (head.kind === "seq") return this.seq(head.head, this.seq(head.tail, tail));
    return this.#intern(`;${head.id},${tail.id}`, head.nullable && tail.nullable, {
      kind: "seq",
      head,
      tail,
    });
  }

  /** r{0,0} = ε{m,n} = ε, r{1,1} = r, r{0,1} = ε|r, (r*){m,n} = (r{0,n})* = r*; m = 0 where r is nullable. */
  repeat(body: Node, min: number, max: number): Node {
    if (!this.#spend(1)) return this.empty;
    if (max === 0 || body === this.end) return this.end;
    if (body === this.empty) return min === 0 ? this.end : this.empty;
    const least = body.nullable ? 0 : min;
    if (max === 1) return least === 0 ? this.choice([this.end, body]) : body;
    if (body.kind === "repeat" && body.min === 0) {
      if (body.max === Infinity) return body;
      if (max === Infinity) return this.repeat(body.body, 0, Infinity);
    }
    const shape = { kind: "repeat", body, min: least, max } as const;
    return this.#intern(`*${body.id},${least},${max}`, least === 0, shape);
  }

  /** All derivatives at once: `gradient(r).get(l)` is the derivative of r by l, or absent where that is ∅. */
  gradient(node: Node): Gradient {
    const known = this.#gradients.get(node);
    if (known !== undefined) return known;
    const sums = new Map<string, Node[]>();
    this.#derive(node, (message, rest) => {
      const sum = sums.get(message);
      if (sum === undefined) sums.set(message, [rest]);
      else sum.push(rest);
    });
    const gradient = new Map<string, Node>();
    for (const [message, sum] of sums) gradient.set(message, this.choice(sum));
    this.#gradients.set(node, gradient);
    return gradient;
  }

  /** The terms of each derivative, to be summed by the caller. */
  #derive(node: Node, term: (message: string, rest: Node) => void): void {
    switch (node.kind) {
      case "empty":
      case "end":
        return;
      case "message":
        return term(node.name, this.end);
      case "choice": // ∂(r|s) = ∂r | ∂s
        for (const part of node.parts) for (const [message, rest] of this.gradient(part)) term(message, rest);
        return;
      case "shuffle": // ∂(r&s) = ∂r&s | r&∂s; equal parts give equal terms
        node.parts.forEach((part, index) => {
          if (part === node.parts[index - 1]) return;
          for (const [message, rest] of this.gradient(part))
            term(message, this.exhausted ? this.empty : this.shuffle(node.parts.with(index, rest)));
        });
        return;
      case "seq": // ∂(r;s) = ∂r;s, and | ∂s where r is nullable
        for (const [message, rest] of this.gradient(node.head)) term(message, this.seq(rest, node.tail));
        if (node.head.nullable) for (const [message, rest] of this.gradient(node.tail)) term(message, rest);
        return;
      case "repeat": {
        // ∂(r{m,n}) = ∂r;r{m-1,n-1}. It needs no second term where r is nullable: then r{m,n} is r{n,n}, and
        // each shorter repetition lies within the longer one.
        const again = this.repeat(node.body, Math.max(node.min - 1, 0), node.max - 1);
        for (const [message, rest] of this.gradient(node.body)) term(message, this.seq(rest, again));
        return;
      }
    }
  }

  #spend(work: number): boolean {
    return this.#budget.spend(work);
  }

  #intern(key: string, nullable: boolean, shape: Shape): Node {
    const known = this.#nodes.get(key);
    if (known !== undefined) return known;
    const node: Node = { ...shape, id: this.#nodes.size, nullable };
    this.#nodes.set(key, node);
    return node;
  }
}

function byId(a: Node, b: Node): number {
  return a.id - b.id;
}

function keyOf(operator: string, parts: readonly Node[]): string {
  return operator + parts.map((part) => part.id).join(",");
}

function some(nodes: Iterable<Node>, holds: (node: Node) => boolean): boolean {
  for (const node of nodes) if (holds(node)) return true;
  return false;
}
