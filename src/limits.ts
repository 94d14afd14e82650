/**
 * Every bound of Postern, named, with its unit last and the reason for its size.
 *
 * A bound is checked before the work or the memory that it bounds is spent. Past one: refused (law 1).
 */

// ── One request ──────────────────────────────────────────────────────────────────────────────────────────

/** All request headers together, as Node's parser counts them: a 16 KiB token beside the signature fields. */
export const HEADERS_BYTES_MAX = 32 * 1024;
/** A body is held whole, because its digest is signed: 1 MiB × the calls in flight is what a node can afford. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** JSON nesting. Deeper documents gain nothing and cost stack in every parser behind us. */
export const JSON_DEPTH_MAX = 64;
/** Values (members and elements) in one document: what a walk over it may cost, about 10 ms. */
export const JSON_VALUES_MAX = 100_000;
/** Tenant, type, id and message names: each becomes part of store keys and log lines. */
export const NAME_LENGTH_MAX = 64;
export const ACTOR_ID_LENGTH_MAX = 128;
/** `Idempotency-Key`, quotes excluded. Clients send UUIDs (36); 255 is what others accept. */
export const IDEMPOTENCY_KEY_LENGTH_MAX = 255;
/** `Request-Timeout-Ms`: nobody waits longer than five minutes for one message. */
export const REQUEST_TIMEOUT_MS_MAX = 300_000;
/** After SIGTERM /readyz answers 503 for this long before calls are refused: load balancers ask every second or so. */
export const DRAIN_NOTICE_MS = 1_500;
/** Requests in flight get this long to finish while the node drains. */
export const DRAIN_GRACE_MS = 30_000;
/** How long a client may take to send its whole request: a slow sender must not hold a connection. */
export const RECEIVE_TIMEOUT_MS = 30_000;

// ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────────

/** One macaroon in binary. 16 KiB holds about a hundred caveats; past it a token belongs in no header. */
export const TOKEN_BYTES_MAX = 16 * 1024;
/** Characters of a token past which `inspect` warns: half of what common servers take as one header (8 KB). */
export const TOKEN_LENGTH_COMFORTABLE = 4 * 1024;
/** Caveats of one macaroon: each costs one HMAC (3 µs) before anything of the request is proved. */
export const CAVEATS_MAX = 128;
/** One caveat's text: a protocol expression (1 KiB) and its name. */
export const CAVEAT_BYTES_MAX = 2 * 1024;
/** Discharges that come with one token: each costs HMACs of its own, and few of them fit into a header. */
export const DISCHARGES_MAX = 16;
/** A discharge of a discharge of …: a service may ask another, which asks a third; a longer chain is a mistake. */
export const DISCHARGE_NESTING_MAX = 4;
/** What a third party is asked to vouch for, as text: a sentence, or some JSON. */
export const CONDITION_BYTES_MAX = 1024;
/** A request to a discharge service: a ticket as long as a caveat may be, in base64url, and the JSON around it. */
export const DISCHARGE_REQUEST_BYTES_MAX = 4 * 1024;
/** How long a discharge is good for unless its service says: what was vouched for may soon be so no more. */
export const DISCHARGE_LIFETIME_MS = 5 * 60_000;
/** How long a decision may take before it must be asked for anew: a person comes back the next day. */
export const POLL_LIFETIME_MS = 24 * 3_600_000;
/** What a discharge service knows a waiting request by; it is part of a URL. A UUID is 36. */
export const POLL_ID_LENGTH_MAX = 256;
/** The pause before a client asks a service again, doubled each time, up to the second number: people take minutes. */
export const POLL_PAUSE_MS_MIN = 500;
export const POLL_PAUSE_MS_MAX = 10_000;
/** How long a client waits for one discharge unless told: longer than that a caller does not stand by. */
export const DISCHARGE_PATIENCE_MS = 120_000;
/** A discharge is renewed when so little of its life is left, or a quarter of it: a call must still arrive with it. */
export const DISCHARGE_RENEWAL_MS = 30_000;
/** Discharges that one client keeps, at about 1 KiB. */
export const DISCHARGES_KEPT_MAX = 1024;
/** Verified prefixes, with what was read of their caveats: about 10,000 tokens of six caveats. */
export const PREFIX_CACHE_BYTES_MAX = 64 * 1024 * 1024;
/** What V8 needs for one of them beside its texts, as measured: a tail, a map of what goes on from it, two links. */
export const PREFIX_PLACE_BYTES = 640;
/** A prefix that nobody used for so long leaves: its tail is a secret. To verify it again is some HMACs. */
export const PREFIX_IDLE_MS = 5 * 60_000;
/** How often those are looked for: each look costs a step for each tenant. */
export const PREFIX_SWEEP_MS = 1_000;

// ── Conditions ───────────────────────────────────────────────────────────────────────────────────────────

/** The text of one `when` condition: parsing takes up to 1 ms of it. */
export const WHEN_LENGTH_MAX = 512;
/** Brackets that stand open at once: the parser's time for one that is never closed grows with their square. */
export const WHEN_DEPTH_MAX = 16;
/** Steps of one evaluation, each at most about 30 µs and usually 1: `all` over some hundred elements. Together 15 ms. */
export const WHEN_WORK_MAX = 500;

/** `when` caveats of one token: together they may take 120 ms of a caller who has proved who he is. */
export const WHEN_CAVEATS_MAX = 8;

/** `delegate` caveats of one token: each is a signature to verify, 1 ms. */
export const DELEGATE_CAVEATS_MAX = 8;
/** `uses` and `rate` caveats of one token: each is a record that the actor keeps, and that every call writes. */
export const COUNT_CAVEATS_MAX = 16;
/** The period of a `rate`: the actor keeps its count for so long, and clocks of nodes differ by less. */
export const RATE_PERIOD_MS_MAX = 31 * 86_400_000;

// ── Changes, keys and revocations ────────────────────────────────────────────────────────────────────────

/** How often a node asks what changed: with the reading itself, a change is in force within 2 s. */
export const CHANGES_POLL_MS = 1_000;
/** How often a node reads everything anew, should a writer have died before it said what it changed. */
export const FULL_PASS_MS = 30_000;
/** Changes that one answer names: of more in a second, the whole store is read anew. 128 names are 8 KiB at most. */
export const CHANGES_KEPT_MAX = 128;
/** Times a shared object is changed while others change it too: that many may write at the same moment. */
export const CHANGE_ATTEMPTS_MAX = 64;
/** A node that could not learn for this long what was revoked refuses calls: a partition must not revive a token. */
export const STALENESS_MS_MAX = 30_000;
/** Entries of one page of the feed, 200 KB at most: the last page is written anew by each revocation, and read anew
 * by each node; 100,000 revocations are 196 pages, which a starting node reads in a second. */
export const REVOCATIONS_PER_PAGE = 512;
/** Revocations of one tenant that a node keeps, at about 150 bytes: 40 MB. Full means refused, never forgotten. */
export const REVOCATIONS_PER_TENANT_MAX = 250_000;
/** How long a revocation is kept past the expiry of what it revokes: a wall clock may be set back by so much. */
export const REVOCATION_GRACE_MS = 24 * 3_600_000;
/** Why something was revoked, for the people who list it. */
export const REVOCATION_REASON_LENGTH_MAX = 200;
/** Revocations that one `postern revoke --list` prints: two pages of the feed. */
export const REVOCATIONS_LISTED_MAX = 1_000;
/** Keys of one ring, retired ones included: three years of a rotation every two weeks. */
export const KEYRING_KEYS_MAX = 80;

// ── Signed requests ──────────────────────────────────────────────────────────────────────────────────────

/** `expires - created` of a signature: how long a captured request could matter. */
export const SIGNATURE_LIFETIME_S_MAX = 60;
/** How far a caller's clock may differ from ours, both ways. */
export const CLOCK_SKEW_S_MAX = 30;
/** A nonce of a signed request, as text: 16 random bytes are 22 characters. */
export const NONCE_LENGTH_MIN = 16;
export const NONCE_LENGTH_MAX = 64;
/** How long one request can pass, from the first moment to the last: made by a clock that is too fast, taken late. */
export const REQUEST_LIFE_S_MAX = SIGNATURE_LIFETIME_S_MAX + 2 * CLOCK_SKEW_S_MAX;
/** Nonces remembered at once: 120 s of 5,000 calls/s, at about 150 bytes each. Full means refused, never forgotten. */
export const REPLAY_ENTRIES_MAX = 600_000;
/** Stretches of time whose nonces were forgotten: one, and one more for each time that a clock was wrong for a while. */
export const REPLAY_STRETCHES_MAX = 8;
/** Tables of keys that sign again and again: some 1,800 keys. */
export const KEY_TABLES_BYTES_MAX = 32 * 1024 * 1024;
/** What V8 needs for one of them, as measured, and for a key that has only been seen. */
export const KEY_TABLE_BYTES = 18 * 1024;
export const KEY_BYTES = 256;

/** A component of a signed request that a refusal shows whole: a path of the longest names has 400 characters. */
export const SHOWN_COMPONENT_LENGTH_MAX = 512;

// ── Protocols ────────────────────────────────────────────────────────────────────────────────────────────

/** The text of one protocol expression. */
export const PROTOCOL_BYTES_MAX = 1024;
/** Different messages in one expression. */
export const PROTOCOL_MESSAGES_MAX = 64;
/** States of one compiled protocol: each state is a row of the transition table kept while it is cached. */
export const PROTOCOL_STATES_MAX = 512;
/** Protocol caveats of one token: each may cost 10 ms to compile when it is first met, before it admits anything. */
export const PROTOCOL_CAVEATS_MAX = 16;
/** Parentheses nested in one expression: the parser recurses this deep. */
export const PROTOCOL_DEPTH_MAX = 64;
/** The upper number of a repetition `{m,n}`. */
export const PROTOCOL_REPEAT_MAX = 512;
/** Expression nodes built while one protocol is compiled, counted with their parts: at most about 10 ms, whatever
 * the text is. 512 states of 64 messages each take 34,000, nine interleaved messages 12,000, a plain session 20. */
export const PROTOCOL_WORK_MAX = 40_000;
/** Transitions followed while protocols are compared, counted with their parts: about a second and 200 MB. It is done
 * offline and at `apply`, never at the gate. Two of 512 states and 4 messages take 6 million, usual ones a hundred. */
export const PROTOCOL_INCLUSION_WORK_MAX = 8_000_000;
/** The same for one question of a gate, may this actor become that: 5 ms. Two of 512 states take 12,000. */
export const PROTOCOL_BECOME_WORK_MAX = 40_000;
/** Behaviours that one actor may become: each may be asked about in each state of each other one, at `apply`. */
export const BEHAVIOURS_PER_ACTOR_MAX = 16;
/** Parts of one split: each is a token, and each multiplies the states that are compared. */
export const PROTOCOL_PARTS_MAX = 8;
/** States of a drawing: with more, lines are no longer followed by eye, and the layout takes quadratic time. */
export const PICTURE_STATES_MAX = 48;
/** Compiled protocols kept: the least recently used one goes first. */
export const PROTOCOL_CACHE_ENTRIES_MAX = 4096;
/** What they may take together: the largest table is 64 KiB, and an edge isolate has 128 MiB for everything. */
export const PROTOCOL_CACHE_BYTES_MAX = 16 * 1024 * 1024;

// ── Typed messages ───────────────────────────────────────────────────────────────────────────────────────

/** One JSON Schema: its values, and 32 characters of its texts as one more. A check costs up to 10 ns for each. */
export const SCHEMA_VALUES_MAX = 10_000;
/** Schemas on a chain that all look at one value (`$ref`, `allOf`, `anyOf` …): each is up to three calls deep on the
 * stack, and values nest 64 deep: together a third of what V8 has. */
export const SCHEMA_CHAIN_MAX = 16;
/** Steps of one check, a step being one schema asked about one value or 32 characters read: about 10 ms. A document of
 * the largest size may have ten of them for each value. */
export const SCHEMA_WORK_MAX = 1_000_000;

// ── Actors ───────────────────────────────────────────────────────────────────────────────────────────────

/** Calls of one batch: they run in one go and share a turn's fuel, but each starts an instance: 8 ms for the worst module. */
export const BATCH_CALLS_MAX = 16;
/** References to earlier results in one batch: each is a path to walk before its size is known. */
export const BATCH_REFERENCES_MAX = 1024;
/** Arguments of one batch that hold references, together and resolved: twelve characters may stand for a megabyte. */
export const BATCH_RESOLVED_BYTES_MAX = BODY_BYTES_MAX;
/** State of one actor, as JSON text: it is written to the log at each change. */
export const STATE_BYTES_MAX = 1024 * 1024;
/** Monitors of one actor that left their start, of one root token: a backend narrows its own for a thousand users. */
export const MONITORS_PER_ROOT_MAX = 1024;
/** The same for all roots together: 6 MB of the actor's record, which is less than a part of a checkpoint. */
export const MONITORS_PER_ACTOR_MAX = 65_536;
/** Counts of `uses` and `rate` caveats, with the same shares; one is up to 700 bytes of the actor's record. */
export const COUNTS_PER_ROOT_MAX = 1024;
export const COUNTS_PER_ACTOR_MAX = 8192;
/** Slots of a rate's period: more of them make it more exact, and every call's entry longer. */
export const RATE_SLOTS = 16;
/** How long the reply to an idempotency key is kept: clients retry for seconds, operators for minutes. */
export const IDEMPOTENCY_RETENTION_MS = 10 * 60_000;
/** Kept replies of one actor: 10 minutes of 400 calls/s. Full means refused, never forgotten. */
export const IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX = 250_000;
/** The same in bytes of keys and replies: a handler that answers a megabyte must not fill the node. */
export const IDEMPOTENCY_BYTES_PER_ACTOR_MAX = 64 * 1024 * 1024;
/** Capabilities that come with one call: each is a chain to verify, with up to eight delegations of 1 ms each. */
export const CAPABILITIES_PER_CALL_MAX = 8;
/** One of them as text, with its discharges: it is sent in a header, beside the signature fields. */
export const CAPABILITY_LENGTH_MAX = 24 * 1024;
/** Capabilities that one call hands on, in its reply and with its sends: each is a signature by the actor, 1 ms. */
export const CAPABILITIES_HANDED_ON_MAX = 16;
/** Capabilities that one actor holds: its handler is told of all of them at each turn, in 100 bytes each. */
export const CAPABILITIES_HELD_MAX = 256;
/** The same in characters as they are sealed: they are part of the actor's record. */
export const CAPABILITIES_HELD_LENGTH_MAX = 1024 * 1024;
/** Public keys of actors that a node keeps at hand: each costs a third of a millisecond to derive. */
export const ACTOR_KEYS_CACHED_MAX = 4096;
/** Sends of one call, of all its turns together. */
export const SENDS_PER_CALL_MAX = 16;
/** Sends of one actor that are not delivered yet: where a receiver is down, the sender is slowed down before it is full. */
export const OUTBOX_SENDS_MAX = 1024;
/** The same in characters of arguments and sealed capabilities: they are part of the actor's record. */
export const OUTBOX_LENGTH_MAX = 4 * 1024 * 1024;
/** A send that could not be delivered for so long is given up: an outage of a night must not lose any. */
export const SEND_LIFETIME_MS = 24 * 3_600_000;
/** How long a receiver remembers the last send that it took from an actor: past the send's lifetime, by more than clocks
 * differ and signed requests live, so none is taken twice. */
export const SENDER_RETENTION_MS = SEND_LIFETIME_MS + 3_600_000;
/** Actors whose last send one actor remembers, at about 200 bytes. Full means refused and tried again, never forgotten. */
export const SENDERS_PER_ACTOR_MAX = 16_384;
/** One attempt to deliver: a shard that moves is back within seconds. */
export const SEND_TIMEOUT_MS = 30_000;
/** The pause after a failed attempt, doubled for each further one, up to the second number. */
export const SEND_BACKOFF_MS_MIN = 100;
export const SEND_BACKOFF_MS_MAX = 30_000;
/** Deliveries under way at once, on the node: a hundredth of the calls that it takes, so nobody waits behind them. */
export const DELIVERIES_AT_ONCE = 64;
/** The same for one tenant, whose receivers may all be slow: a few of those leave room for others. */
export const DELIVERIES_OF_TENANT_AT_ONCE = 16;
/** An actor that nobody called for this long leaves memory: to read it again costs one round trip to the store. */
export const ACTOR_IDLE_MS = 5 * 60_000;
/** What the actors in memory may take together, of a heap of 2 to 4 GiB; each open shard has an equal share of it. Past
 * it those leave that a checkpoint holds. */
export const ACTORS_BYTES_MAX = 512 * 1024 * 1024;
/** Calls that wait for one actor: its turns take 0.1 s at worst, so the last of them is answered within half a minute. */
export const CALLS_WAITING_PER_ACTOR_MAX = 256;
/** Calls admitted and not yet answered, on the node. */
export const CALLS_IN_FLIGHT_MAX = 10_000;

// ── Store and log ────────────────────────────────────────────────────────────────────────────────────────

/** Objects that a check or a copy reads at once: enough to hide a bucket's latency, few enough to hold in memory. */
export const STORE_READS_AT_ONCE = 16;
/** Operations in one transaction of the embedded store: past a hundred an fsync is a few percent of each, and the first
 * of them waits for the last. */
export const STORE_GROUP_OPERATIONS_MAX = 256;
/** Bodies in one such transaction: two group commits of full size, written in some 20 ms. */
export const STORE_GROUP_BYTES_MAX = 16 * 1024 * 1024;
/** Times a check reads a shard again because its owner has replaced what was being read: checkpoints are seldom. */
export const SHARD_CHECKS_MAX = 5;
/** Differences that one replay of a shard lists: the first ones say what is wrong, and all of them are counted. */
export const REPLAY_DIFFERENCES_MAX = 100;
/** Times one conditional put is sent, each after reading back, where the store knows of no better patience. */
export const PUT_ATTEMPTS_MAX = 4;
/** One group commit: what is written in one store round trip. */
export const COMMIT_BYTES_MAX = 8 * 1024 * 1024;
export const COMMIT_ENTRIES_MAX = 4096;
/** Group commits in flight at once. Part of the format: a seal leaves so many slots void behind a deposed writer. */
export const COMMIT_WINDOW_MAX = 4;
/** How many of them a node uses unless told: more of them shorten the wait for a slow store, and cost more writes. */
export const COMMIT_WINDOW = 1;
/** A commit that calls have shared waits for more of them while they keep coming: it looks so often in the time that one
 * commit takes, and waits no longer than two of them take, or this. */
export const COMMIT_GATHER_SLICES = 8;
export const COMMIT_GATHER_MS_MAX = 250;
/** One part of a checkpoint: parts keep single objects small enough to read and write in one go. */
export const CHECKPOINT_PART_BYTES = 8 * 1024 * 1024;
/** A checkpoint is written once the log past the last one weighs this much, and more than that checkpoint. */
export const CHECKPOINT_LOG_BYTES_MIN = 4 * 1024 * 1024;
/** What a slot weighs beside its bytes: recovery reads slots one by one, and 512 of them take a bucket a second. */
export const CHECKPOINT_SLOT_BYTES = 8 * 1024;
/** A shard that moves is given a checkpoint where its successor would read more slots than this: one read-ahead. */
export const CHECKPOINT_HANDOVER_SLOTS = 16;
/** One page of records, on average: what a call of an actor that is not in memory reads, and what a change rewrites. */
export const PAGE_BYTES = 128 * 1024;
/** Pages of one shard: 512 MiB of records, and a manifest of half a megabyte. */
export const PAGES_MAX = 4096;
/** Writers that race for one key in the probe of a store, and rounds: a check that is not atomic lets two pass. */
export const PROBE_RACERS = 8;
export const PROBE_ROUNDS = 3;
/** S3 answers in 5 to 100 ms, one request of a thousand within a second: after this much silence none will come. */
export const S3_TIMEOUT_MS = 5_000;
/** A read that takes longer is sent once more beside, out of the retries: it is the slow one of a thousand, and a recovery
 * that reads 500 slots would wait for it. */
export const S3_SLOW_READ_MS = 1_000;
/** A put may take longer by its size: 1 MiB/s is the slowest network that a node is worth running on. */
export const S3_UPLOAD_BYTES_PER_MS_MIN = 1024;
/** Times one read is sent: a server of a fleet that fails is met once or twice, not four times. */
export const S3_READ_ATTEMPTS_MAX = 4;
/** Retries that a store has in hand, and what each answer gives back: one failing read of ten may be sent again for
 * ever, but an outage is not met with four times the load. */
export const S3_RETRIES_MAX = 20;
export const S3_RETRIES_PER_ANSWER = 0.1;
/** The longest pause before the first retry of a read, doubled for each further one, up to the second number. */
export const S3_BACKOFF_MS_MIN = 50;
export const S3_BACKOFF_MS_MAX = 2_000;
/** How long a put in a bucket is sent and read back, before its outcome is left unknown. Any outage of 3 s is over before:
 * it may begin a silence of S3_TIMEOUT_MS at its end, and a pause comes after that. Longer helps nobody: leases end. */
export const S3_SETTLE_MS = 9_000;
export const S3_SETTLE_PAUSE_MS_MAX = 800;
/** Times it is sent in that time. The pauses allow about 22; this bounds what chance, or a clock that stands, may add. */
export const S3_SETTLE_ATTEMPTS_MAX = 64;
/** One renewal of credentials, with its retries: two silences, or what an overloaded service needs. */
export const STS_RENEWAL_MS = 10_000;
/** From the end of one renewal to the next, at most: a hundred nodes whose service fails ask it twenty times a second. */
export const STS_PAUSE_MS = 5_000;
/** AWS gives a role's credentials for 12 hours at most; what is said to last longer is renewed as if it did not. */
export const STS_LIFETIME_MS_MAX = 12 * 3_600_000;
/** A web identity token, as AWS takes it. */
export const STS_TOKEN_LENGTH_MAX = 20_000;
/** One object: a commit or a part of a checkpoint is 8 Mi characters (24 MiB at most), or one entry that is larger. */
export const S3_OBJECT_BYTES_MAX = 64 * 1024 * 1024;
/** Any other answer: an error document is 1 KiB. */
export const S3_ANSWER_BYTES_MAX = 64 * 1024;
/** One page of a list: 1,000 keys of 1 KiB, three bytes for each when encoded, and 1 KiB around each. */
export const S3_LIST_PAGE_BYTES_MAX = 8 * 1024 * 1024;
/** Keys under one prefix, held in memory at once: 100 MB. Logs are swept; what stays is a seal for each start. */
export const S3_LIST_KEYS_MAX = 1_000_000;

// ── Cluster ──────────────────────────────────────────────────────────────────────────────────────────────

/** Shards of a new store. Each is one writer; a node opens that many in a second, and a cluster has fewer nodes. */
export const SHARDS_DEFAULT = 64;
/** Three digits in a key; each shard costs a seal at each change of its owner. */
export const SHARDS_MAX = 1000;
/** How long a node may be silent before others take over its shards. */
export const LEASE_TTL_MS = 10_000;
export const LEASE_TTL_MS_MIN = 500;
export const LEASE_TTL_MS_MAX = 300_000;
/** Renewals in one TTL: two may fail. */
export const LEASE_RENEWALS = 3;
/** For how much of the TTL its holder relies on a lease: the rest is for clocks that run up to 10 % too fast or slow. */
export const LEASE_VALID_SHARE = 0.8;
/** Looks at the others' leases in one TTL: what a takeover comes late by. At 10 s and three nodes $8 of GETs a month. */
export const WATCH_INTERVALS = 40;
/** Looks under way at once: one that hangs must not blind a node, and a silent store is not met with ever more of them. */
export const LOOKS_AT_ONCE = 4;
/** A node owns at most its share of the shards times this: more slack moves fewer shards when nodes come and go. */
export const PLACEMENT_SLACK = 1.25;
/** Answers of the placement that are kept: who lives, with and without who is new or does not answer. */
export const ASSIGNMENTS_KEPT = 16;
/** Shards that one node hands over at once, to a node that has joined: each stalls for some round trips. */
export const MOVES_AT_ONCE = 4;
/** Shards that one node opens or closes at once: enough to hide a bucket's latency. */
export const SHARDS_OPENED_AT_ONCE = 16;
/** After a shard could not be opened, it is left alone for so long. */
export const SHARD_RETRY_MS = 1_000;
/** Different complaints about one shard that are said once each while they last; of more, some are said again. */
export const COMPLAINTS_KEPT = 64;

/** A connection to another node of the cluster: nodes stand next to each other. */
export const CONNECT_TIMEOUT_MS = 1_000;
/** The leader answers `deadline` by itself; its answer needs a moment to come back. */
export const FORWARD_MARGIN_MS = 1_000;
/** How long a call waits for a shard that is moving, and how often it looks: a hand-over takes some round trips. */
export const PLACE_PATIENCE_MS = 5_000;
export const PLACE_RETRY_MS = 50;
/** How often actors that nobody calls are looked for: what they take past their share they take no longer than this.
 * Half a million actors, which is as many as there can be, are looked at in 11 ms. */
export const ACTORS_SWEEP_MS = 1_000;

// ── Edge ─────────────────────────────────────────────────────────────────────────────────────────────────

/** How old an edge node's knowledge of a tenant may be before a request waits for news: with the look itself, what was
 * revoked is in force within 2 s. */
export const EDGE_KNOWLEDGE_MS_MAX = 1_500;
/** How long a request waits for news: a store that hangs is ridden out with what is known, until that is too old. */
export const EDGE_PATIENCE_MS = 3_000;
/** A look that has taken so long was cut off with the request that began it: one read of a store and its retries end
 * before. */
export const EDGE_LOOK_MS_MAX = 25_000;
/** Edge nodes of one tenant: its ring is one object with a copy for each, of 10 KB at most. */
export const EDGES_PER_TENANT_MAX = 64;

// ── Supervisor ───────────────────────────────────────────────────────────────────────────────────────────

/** How often a node tells its supervisor that its loop turns, and what its threads are at. */
export const HEARTBEAT_MS = 250;
/** So many heartbeats missed, 10 s: by then other nodes have taken over what a node led. */
export const HEARTBEATS_MISSED_MAX = 40;
/** Before its first one a node may take a minute more: it opens its store and compiles its own code. */
export const NODE_START_BEATS_MAX = 240;
/** A turn under way for so many heartbeats, 5 s, that has had so much of the CPU is not held by fuel, which ends after 0.1 s;
 * its code may take 0.4 s to compile. Where nobody can tell what it had, a minute must do. */
export const TURN_WEDGED_BEATS = 20;
export const TURN_WEDGED_CPU_MS = 3_000;
export const TURN_WEDGED_BEATS_UNMEASURED = 240;
/** One Ctrl-C comes twice where npm passes on what the terminal has sent already; a second one takes longer. */
export const SAME_SIGNAL_MS = 500;
/** From when a node says that it ends until it must have ended: a thread that nothing stops would keep it for ever. */
export const NODE_END_MS_MAX = 2_000;
/** Before a crashed node is started again, doubled for each crash within the window, up to the second number. */
export const RESTART_PAUSE_MS_MIN = 100;
export const RESTART_PAUSE_MS_MAX = 5_000;
/** Restarts within the window: past them the supervisor gives up, and whoever supervises it decides. */
export const RESTARTS_MAX = 8;
export const RESTART_WINDOW_MS = 60_000;

// ── Sandbox ──────────────────────────────────────────────────────────────────────────────────────────────

/** One handler module as uploaded. Rust with its standard library is 0.1 to 1 MB, a QuickJS 1 MB. */
export const WASM_MODULE_BYTES_MAX = 4 * 1024 * 1024;
/** Linear memory of one turn, in pages of 64 KiB: 16 MiB × the turns that run at once. */
export const WASM_MEMORY_PAGES_MAX = 256;
/** Tables of one module. Compilers emit one; a second and third serve reference types. */
export const WASM_TABLES_MAX = 4;
/** Elements of one table, and of all element segments: each turn fills them anew, at up to 50 ns each. */
export const WASM_TABLE_ELEMENTS_MAX = 10_000;
export const WASM_FUNCTIONS_MAX = 20_000;
export const WASM_TYPES_MAX = 4096;
/** Parameters of one function or block: a call moves them all for the price of one instruction. */
export const WASM_PARAMETERS_MAX = 64;
/** Results of one function or block: every branch out of it moves them. */
export const WASM_RESULTS_MAX = 16;
/** Globals, exports, data and element segments: each turn makes them anew. */
export const WASM_GLOBALS_MAX = 1024;
export const WASM_EXPORTS_MAX = 1024;
export const WASM_SEGMENTS_MAX = 4096;
/** One function's code. An interpreter's main loop is 100 KB. */
export const WASM_FUNCTION_BYTES_MAX = 256 * 1024;
/** Locals of one function, parameters included: each is zeroed at each call and kept at each branch. */
export const WASM_LOCALS_MAX = 4096;
/**
 * Code bytes × (locals + operand stack), of one function: what V8 can spend to compile it, as it keeps a
 * value of each slot at each branch. 32 KB with 50,000 locals (1.6e9) take 1.5 s and 2 GB; this takes 0.1 s.
 * A loop header counts as 24 bytes.
 */
export const WASM_FUNCTION_SLOTS_MAX = 64_000_000;
/** The same, over all functions: compilation happens at the first call of each, inside some turn. */
export const WASM_MODULE_SLOTS_MAX = 256_000_000;
/** Blocks nested in one function: a switch of n cases nests n. */
export const WASM_BLOCK_NESTING_MAX = 1024;
/** Targets of one br_table. */
export const WASM_BR_TABLE_TARGETS_MAX = 8192;
/** Problems that one admission reports before it gives up. */
export const WASM_PROBLEMS_MAX = 20;
/** Stack of QuickJS in a handler: its RangeError comes at some 200 calls, before the turn's own stack ends in a trap. */
export const JS_STACK_BYTES_MAX = 64 * 1024;
/** Processor time of the process that admits one module. QuickJS, the largest that is known, takes 1.2 s for both compilers. */
export const ADMISSION_CPU_MS_MAX = 10_000;
/** The same by the clock, for machines that do much else at the same time; and what a module that waits may take. */
export const ADMISSION_WALL_MS_MAX = 60_000;
/** Memory of that process. It starts with 50 MB, and QuickJS takes 120. */
export const ADMISSION_RSS_BYTES_MAX = 768 * 1024 * 1024;
/** Its JavaScript heap: our own pass keeps some values for each instruction that it changes. */
export const ADMISSION_HEAP_BYTES_MAX = 256 * 1024 * 1024;
/** How often it is looked at: a compiler takes a gigabyte in half a second. */
export const ADMISSION_LOOK_MS = 20;
/** One turn, in units of fuel (`src/dispatch/opcodes.ts`): 50 to 100 ms of one core in a hostile loop. */
export const TURN_FUEL_MAX = 250_000_000;
/** Threads that run turns; more than a machine's cores gain nothing. */
export const TURN_THREADS_MAX = 64;
/** JavaScript heap of such a thread, beside the handler's own memory: an answer of full size, parsed, takes 20 MB. */
export const TURN_THREAD_HEAP_MB = 128;
/** A thread that has died before it was ready is replaced after so long: it died of its surroundings. */
export const TURN_THREAD_RETRY_MS = 1_000;
/** Niceness of threads that run long turns: where cores are short, the gate has nine times as much as such a thread. */
export const TURN_THREAD_NICENESS = 10;
/** Turns of one tenant that wait for a thread, and their inputs: 64 of full size, or 1,024 usual ones, which take 0.1 s. */
export const TURNS_WAITING_PER_TENANT_MAX = 1024;
export const TURN_BYTES_WAITING_PER_TENANT_MAX = 64 * 1024 * 1024;
/** What each waiting tenant may take of the threads in one round: some ten usual turns. */
export const TURN_QUANTUM_US = 1_000;
/** A brief turn: whoever waits for it does not notice. */
export const TURN_BRIEF_US_MAX = 2_000;
/** For how many times as long as a longer turn took its tenant does not get the kept thread: of a hundred turns of others
 * one at most comes upon such a thread. */
export const TURN_LONG_BARRED_FACTOR = 100;
/** Modules in quarantine: one is one too many. They are one object, read by every node. */
export const QUARANTINED_MAX = 256;
/** Call stack of one turn, as the fuel pass counts it: half of what V8 has (984 KiB), the same on every machine. */
export const TURN_STACK_BYTES_MAX = 384 * 1024;
/** What a handler may return: a state and a reply of full size, and the names around them. */
export const TURN_OUTPUT_BYTES_MAX = STATE_BYTES_MAX + BODY_BYTES_MAX + 4096;
/** A handler's own error text: it goes into a problem document and a log line. */
export const HANDLER_DETAIL_LENGTH_MAX = 1024;
