/**
 * What the combinators' protocols and the generated tables share: one expression, compiled under the gate's bounds,
 * and references that begin in it.
 */
import { isRefusal } from "../errors.ts";
import { type Automaton, compileProtocol } from "../protocol/automaton.ts";
import { createReference, type Link, type MessageSchemas } from "./reference.ts";
import { tokenMismatch } from "./token-mismatch.ts";

export class Connector {
  /** The expression, as a `protocol` caveat or a policy writes it. */
  readonly text: string;
  readonly #messages: Readonly<Record<string, MessageSchemas>>;
  readonly #automaton: Automaton;

  /** @throws where the gate would refuse the expression */
  constructor(messages: Readonly<Record<string, MessageSchemas>>, text: string) {
    const automaton = compileProtocol(text);
    if (isRefusal(automaton)) throw new RangeError(automaton.detail);
    // A reference with such a method would be taken for a promise wherever it is awaited.
    if (automaton.alphabet.includes("then"))
      throw new RangeError("no message of a reference may be named then");
    this.text = text;
    this.#messages = messages;
    this.#automaton = automaton;
  }

  /**
   * @param done messages that took effect before
   * @returns why the token does not admit all that the types allow, where it does not; offline
   */
  mismatch(token: string, ...done: readonly string[]): string | undefined {
    return tokenMismatch(token, this.#automaton, done);
  }

  /** @throws where the token does not admit what the types allow, or `done` is no beginning of the protocol */
  protected begin(link: Link, done: readonly string[]): object {
    const mismatch = this.mismatch(link.token, ...done);
    if (mismatch !== undefined) throw new RangeError(mismatch);
    const state = done.reduce((at, message) => this.#automaton.next(at, message) ?? at, 0);
    return createReference(link, this.#messages, this.#automaton, state);
  }
}
