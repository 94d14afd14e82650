/** Bugs, each a change of the source that breaks one rule: the simulation must find every one of them. */

export interface Change {
  /** In `src/`. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly from: string;
  readonly to: string;
}

export interface Bug {
  readonly name: string;
  readonly changes: readonly Change[];
}

const bug = (name: string, file: string, from: string, to: string): Bug => ({
  name,
  changes: [{ file, from, to }],
});

const RECOVERY: readonly Bug[] = [
  bug(
    "no check of the ownership after the seal",
    "cluster/recovery.ts",
    "return (await this.#confirm()) ?? this.#recovered(seq);",
    "return this.#recovered(seq);",
  ),
  bug(
    "entries begin within a deposed writer's window",
    "cluster/recovery.ts",
    "const resume = seq + COMMIT_WINDOW_MAX;",
    "const resume = seq + COMMIT_WINDOW_MAX - 1;",
  ),
  bug(
    "a hole is sealed over",
    "cluster/recovery.ts",
    "if (hole !== undefined) return hole;",
    "if (hole !== undefined && isRefusal(hole) === false) return hole;",
  ),
  bug(
    "a hole is sealed over where the slots behind it are near",
    "cluster/recovery.ts",
    'found === "beyond" || found.header.kind === "seal" || found.header.durable >= seq',
    'found === "beyond"',
  ),
  bug(
    "a hole is sealed over where the slots behind it are far",
    "cluster/recovery.ts",
    'const found = later < seq + COMMIT_WINDOW_MAX ? await this.#read(later) : "beyond";',
    "const found = later < seq + COMMIT_WINDOW_MAX ? await this.#read(later) : undefined;",
  ),
  bug(
    "void entries are applied",
    "cluster/recovery.ts",
    "seq = header.resume;",
    `for (let gap = seq + 1; gap < header.resume; gap++) {
          const slot = await this.#read(gap);
          if (slot !== undefined && !isRefusal(slot)) for (const line of slot.lines) records.apply(line);
        }
        seq = header.resume;`,
  ),
  bug(
    "a recovery goes on when it meets a newer reign",
    "cluster/recovery.ts",
    "if (header.epoch > epoch) return deposed(this.#shard);",
    "",
  ),
];

const OWNERSHIP: readonly Bug[] = [
  bug(
    "a new owner keeps the epoch",
    "cluster/ownership.ts",
    "epoch: before.epoch + 1, session",
    "epoch: Math.max(1, before.epoch), session",
  ),
  bug(
    "the ownership is put unconditionally",
    "cluster/ownership.ts",
    "encodeDocument(FORMAT, ownership), condition)",
    "encodeDocument(FORMAT, ownership), {} as typeof condition)",
  ),
  bug(
    "the ownership is deleted at hand-over",
    "cluster/log.ts",
    "return this.#retention.own({ session: null });",
    'await this.#options.store.delete(`own/${String(this.#options.shard).padStart(3, "0")}`); return undefined;',
  ),
  bug(
    "an owner takes an unclear change of its own for a deposition",
    "cluster/retention.ts",
    "if (now === undefined || !isSameReign(now, this.#owned)) return owned;",
    "return owned;",
  ),
  bug(
    "a shard is taken from an owner who lives",
    "cluster/holdings.ts",
    "const free = owner === null || owner === this.#options.session || (await isFree(owner));",
    "const free = true as boolean | Refusal;",
  ),
];

const LOG: readonly Bug[] = [
  bug(
    "log entries are put unconditionally",
    "cluster/log.ts",
    'const put = settledPut(store, logKey(shard, seq), body, { ifNoneMatch: "*" });',
    "const put = settledPut(store, logKey(shard, seq), body, {} as never);",
  ),
  bug(
    "an unclear append is sent again with a new nonce",
    "cluster/log.ts",
    'const put = settledPut(store, logKey(shard, seq), body, { ifNoneMatch: "*" });',
    `const header = { kind: "entries", epoch: this.epoch, session, durable: this.#durable } as const;
    const attempt = () =>
      settledPut(store, logKey(shard, seq), encodeObject({ ...header, nonce: nonce() }, entries), { ifNoneMatch: "*" });
    const put = attempt().then((outcome) => (outcome.outcome === "unknown" ? attempt() : outcome));`,
  ),
  bug(
    "a slot is acknowledged before those ahead of it",
    "cluster/log.ts",
    "flight.outcome = outcome;",
    'flight.outcome = outcome; if (outcome.outcome === "won") for (const { settle } of group) settle(undefined);',
  ),
  bug(
    "a writer goes on after an outcome that stays unknown",
    "cluster/log.ts",
    'if (outcome.outcome !== "won") this.#stepDown',
    'if (outcome.outcome === "lost") this.#stepDown',
  ),
  bug(
    "an unknown outcome is told as no effect",
    "cluster/log.ts",
    'const answer = outcome.outcome === "unknown" ? unknown : this.#reasonOf(outcome);',
    "const answer = this.#reasonOf(outcome) ?? unknown;",
  ),
  bug(
    "a shard is handed over before all is durable",
    "cluster/log.ts",
    `this.#retention.close();
    await this.idle();`,
    "this.#retention.close();",
  ),
  bug(
    "a leader answers without a lease",
    "cluster/log.ts",
    "return this.#options.leaseIsValid() ? undefined : this.#stillMine();",
    "return undefined;",
  ),
  bug(
    "every slot says that those in flight before it are durable",
    "cluster/log.ts",
    "nonce: nonce(), durable: this.#durable }",
    "nonce: nonce(), durable: seq - 1 }",
  ),
  bug(
    "a conflict counts as lost",
    "store/settle.ts",
    'const isClear = put.outcome === "conflict";',
    'const isClear = put.outcome === "conflict"; if (isClear) return { outcome: "lost" };',
  ),
  bug(
    "what is still unclear in the end counts as lost",
    "store/settle.ts",
    'return { outcome: "unknown", reason };',
    'return { outcome: "lost", reason } as Settled;',
  ),
];

const LEASES: readonly Bug[] = [
  bug(
    "a lease is relied on until its end",
    "limits.ts",
    "export const LEASE_VALID_SHARE = 0.8;",
    "export const LEASE_VALID_SHARE = 1;",
  ),
  bug(
    "a lease is valid from the answer to its renewal on",
    "cluster/lease.ts",
    `this.#renewedAt(sent_ms, put.etag);
      return "renewed";`,
    `this.#renewedAt(clock.now_ms(), put.etag);
      return "renewed";`,
  ),
  bug(
    "a burial hits whatever is there",
    "cluster/lease.ts",
    `encodeLease({ ...TOMBSTONE, session, nonce }), {
    ifMatch: etag,
  });`,
    "encodeLease({ ...TOMBSTONE, session, nonce }), {} as never);",
  ),
  bug(
    "time in which nobody looked counts as silence",
    "cluster/peers.ts",
    "Math.min(look.asked_ms - seen.looked_ms, 2 * this.#options.interval_ms)",
    "look.asked_ms - seen.looked_ms",
  ),
  bug(
    "who is silent for most of a TTL is dead",
    "cluster/peers.ts",
    "unchanged_ms >= ttl_ms ||",
    "unchanged_ms >= 0.8 * ttl_ms ||",
  ),
];

const RETENTION: readonly Bug[] = [
  {
    name: "seals are deleted",
    changes: [
      {
        file: "cluster/retention.ts",
        from: 'if (typeof decoded === "string" || decoded.header.kind === "seal") return true;',
        to: "",
      },
      { file: "cluster/retention.ts", from: "else if (this.#seals.has(seq)) return true;", to: "" },
    ],
  },
  bug(
    "a sweep deletes slots that no checkpoint holds",
    "cluster/retention.ts",
    "slotOf(slot) > this.#collected && slotOf(slot) <= to)",
    "slotOf(slot) > this.#collected && slotOf(slot) <= to + 1)",
  ),
  bug(
    "a sweep deletes parts of newer checkpoints",
    "cluster/checkpoint.ts",
    "const older = Number.parseInt(id, 10) < checkpoint.seq;",
    "const older = Number.parseInt(id, 10) !== checkpoint.seq;",
  ),
  bug(
    "a sweep deletes pages that are still named",
    "cluster/checkpoint.ts",
    "if (older && !named.has(`${id}/${name}`))",
    "if (older && named.size >= 0)",
  ),
  bug(
    "a checkpoint is written before its entries are durable",
    "cluster/retention.ts",
    "if (capture === undefined || boundary === undefined || boundary > seq) return;",
    "if (capture === undefined || boundary === undefined) return;",
  ),
  bug(
    "a checkpoint ends before entries that wait and that it holds",
    "cluster/retention.ts",
    "const boundary = waiting === 0 ? lastSent : undefined;",
    "const boundary = lastSent as number | undefined;",
  ),
  {
    name: "a group reaches over the end of a checkpoint",
    changes: [
      {
        file: "cluster/retention.ts",
        from: "return this.#taken === undefined || boundary !== undefined ? Number.POSITIVE_INFINITY : queued;",
        to: "return queued < 0 ? queued : Number.POSITIVE_INFINITY;",
      },
      {
        file: "cluster/retention.ts",
        from: "if (this.#taken.queued === 0) this.#taken.boundary = seq;",
        to: "if (this.#taken.queued <= 0) this.#taken.boundary = seq;",
      },
    ],
  },
  bug(
    "a checkpoint is read before the ownership names it",
    "cluster/retention.ts",
    `const written = await this.#checkpoints.write(capture, seq, header, () => this.#closed);`,
    `const written = await this.#checkpoints.write(capture, seq, header, () => this.#closed);
    if (!isRefusal(written)) this.#checkpoints.adopt(written);`,
  ),
  bug(
    "a checkpoint leaves out a page that has changed",
    "cluster/checkpoint.ts",
    "if (keys.length === 0 && !doubled) return old;",
    "if ((keys.length === 0 || old !== null) && !doubled) return old;",
  ),
  bug(
    "pages that double are not written anew",
    "cluster/checkpoint.ts",
    "if (keys.length === 0 && !doubled) return old;",
    "if (keys.length === 0) return old;",
  ),
];

const ACTORS: readonly Bug[] = [
  bug(
    "what a failed checkpoint held counts as written",
    "actor/actors.ts",
    "else this.#changed.add(key);",
    "",
  ),
  bug("a capture sees what comes after it", "actor/actors.ts", "this.#captured?.keep(entry.actor);", ""),
  bug(
    "an actor leaves memory with changes that no checkpoint holds",
    "actor/actors.ts",
    "if (this.#changed.has(address) || this.#captured?.has(address) === true) continue;",
    "if (this.#captured?.has(address) === true) continue;",
  ),
  bug(
    "an actor leaves memory while it is being captured",
    "actor/actors.ts",
    "if (this.#changed.has(address) || this.#captured?.has(address) === true) continue;",
    "if (this.#changed.has(address)) continue;",
  ),
  bug(
    "an actor leaves memory while its turn runs",
    "actor/actors.ts",
    "if (!leaves || held.calls > 0) continue;",
    "if (!leaves) continue;",
  ),
  bug(
    "an actor takes calls while its turn runs",
    "actor/mailboxes.ts",
    "if (waiting === undefined) this",
    "if (waiting?.length !== -1) this",
  ),
  {
    name: "a call is looked up among the kept replies before it is its turn",
    changes: [
      {
        file: "actor/shard.ts",
        from: "return this.#withActor(address, (actor) => this.#inTurn(address, actor, call));",
        to: `return this.#withActor(address, async (actor) => {
          const kept = keptReply(actor, call);
          return kept === undefined ? this.#inTurn(address, actor, call) : this.#after(kept);
        });`,
      },
      { file: "actor/shard.ts", from: "if (kept !== undefined) return () => this.#after(kept);", to: "" },
    ],
  },
  bug(
    "a record is read from one checkpoint and its entries after the next",
    "actor/actors.ts",
    "if (checkpoints !== this.#checkpoints) continue;",
    "",
  ),
  bug(
    "a checkpoint forgets nonces",
    "actor/actors.ts",
    "const nonces = [...arrays<NonceRecord>(this.#nonces)]",
    "const nonces = [...arrays<NonceRecord>([])]",
  ),
  bug(
    "a checkpoint forgets kept replies",
    "actor/record.ts",
    '...linesOf("replies", keptRecords(actor, now_ms)),',
    "",
  ),
  bug(
    "a checkpoint forgets monitors",
    "actor/record.ts",
    "JSON.stringify({ v: 3, actor: address, behaviour, monitors, ...counted, ...held, ...used })",
    "JSON.stringify({ v: 3, actor: address, behaviour, monitors: [], ...counted, ...held, ...used })",
  ),
  bug(
    "monitors step when the call is declined",
    "actor/effect.ts",
    "if (isRefusal(ran)) return ran;",
    `if (isRefusal(ran)) {
      for (const [id, at, until_ms] of monitors) actor.monitors.set(root, id, { state: at, until_ms, by: digest });
      return ran;
    }`,
  ),
  bug(
    "no reply is kept",
    "actor/effect.ts",
    "...(idempotency && {",
    '...(idempotency && idempotency.key === "" && {',
  ),
  bug(
    "a call is answered before its entry is durable",
    "actor/shard.ts",
    "return async () => (await appended) ?? { reply, kept: false };",
    "void appended; return async () => ({ reply, kept: false });",
  ),
  bug(
    "an answer that only looked does not wait for what it saw",
    "actor/shard.ts",
    "return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;",
    "return (await this.#log.confirm()) ?? answer;",
  ),
  bug(
    "an answer that only looked does not ask who leads",
    "actor/shard.ts",
    "return (await this.#log.settled()) ?? (await this.#log.confirm()) ?? answer;",
    "return (await this.#log.settled()) ?? answer;",
  ),
];

const SENDS: readonly Bug[] = [
  bug(
    "a send leaves before it is durable",
    "actor/shard.ts",
    "return (await this.#log.settled()) ?? send;",
    "return send;",
  ),
  bug(
    "who takes a shard over does not look for what was sent",
    "actor/actors.ts",
    "for (const [address, sends] of outboxes) this.#outboxes.set(address, sends);",
    "",
  ),
  bug(
    "a checkpoint forgets what was sent",
    "actor/record.ts",
    '...linesOf("sends", outboxRecords(actor)),',
    "",
  ),
  bug(
    "a checkpoint forgets whose sends were taken",
    "actor/record.ts",
    '...linesOf("senders", senderRecords(actor, now_ms)),',
    "",
  ),
  bug(
    "a checkpoint forgets the numbers of sends",
    "actor/record.ts",
    "{ next: [next.capability, next.send] }",
    "{ next: [next.capability, actor.outbox.size] }",
  ),
  bug(
    "a send is taken twice",
    "actor/senders.ts",
    "return (this.#last.get(key)?.[1] ?? -1) >= number;",
    "return (this.#last.get(key)?.[1] ?? -1) > number;",
  ),
  bug(
    "a send that is refused for now is given up",
    "deliveries.ts",
    "const outcome = await this.#retried(address, () => this.#attempt(address, next));",
    `const tried = await this.#attempt(address, next);
      const outcome = isRefusal(tried) ? "done" : tried;`,
  ),
  bug(
    "what was sent to a receiver that is being served is forgotten",
    "deliveries.ts",
    "open.again = true;",
    "",
  ),
];

export const BUGS: readonly Bug[] = [
  ...RECOVERY,
  ...OWNERSHIP,
  ...LOG,
  ...LEASES,
  ...RETENTION,
  ...ACTORS,
  ...SENDS,
];
