//! Every bound that two parties must agree on, units last. Bounds that concern one party alone stand
//! where they are used.

/// Largest MQTT payload that Wayfare sends or accepts. AWS IoT Core stops at 128 KiB with headers.
pub const PAYLOAD_BYTES_MAX: usize = 120 * 1024;
/// Bytes of a blob in one message.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of what one page of a long answer lists, in JSON: however it is quoted once more, it fits into a
/// message.
pub const PAGE_BYTES_MAX: usize = 48 * 1024;
/// Chunks of one blob sent and not yet acknowledged.
pub const CHUNKS_OUTSTANDING_MAX: u64 = 16;
/// Largest module, before rewriting.
pub const MODULE_BYTES_MAX: u64 = 64 << 20;
/// Largest compiled form of a module, signed: rewritten and compiled code is some twenty times its module.
pub const CODE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a target's architecture, of an ABI and so on.
pub const CODE_TEXT_BYTES_MAX: usize = 400;
/// Members of a fleet's roster: as many as one message holds.
pub const ROSTER_MEMBERS_MAX: usize = 400;
/// Engines whose cards a roster revokes: those that were taken out for good, or are about to have another.
pub const ROSTER_REVOKED_MAX: usize = 100;
/// What a signature adds to a message, with the challenges of two engines and a program's place.
pub const SIGNATURE_BYTES_MAX: usize = 1024;
/// Orders that one challenge of an engine is good for. With those of the challenge before they are fewer than
/// the operations that an engine remembers at least, so that none is forgotten, and done again, while it
/// still counts.
pub const ORDERS_PER_CHALLENGE: usize = 200;
/// How long one challenge of an engine is good for, by the engine's own clock.
pub const CHALLENGE_MS: u64 = 10 * 60 * 1000;
/// Keys that an engine trusts.
pub const TRUSTED_KEYS_MAX: usize = 8;
/// Largest file given as a program's standard input.
pub const STDIN_BYTES_MAX: u64 = 64 << 20;
/// Largest snapshot on the wire (compressed).
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Largest snapshot once decompressed: bounds what a hostile one can make us allocate.
pub const SNAPSHOT_UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Arguments and environment of a program together.
pub const ARGUMENT_BYTES_MAX: usize = 32 * 1024;
pub const ARGUMENTS_MAX: usize = 1024;
/// Bytes of an engine's or client's name, and of a program's.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of one log line; a longer one is split, its parts marked as continued.
pub const LOG_LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines and bytes of log that travel with a program, for `wayfare logs`.
pub const LOG_TAIL_LINES_MAX: usize = 512;
pub const LOG_TAIL_BYTES_MAX: usize = 64 * 1024;
/// Lines and bytes that an engine keeps for who has not received them, be it the broker or a follower: a
/// program that has printed so much waits.
pub const LOG_WINDOW_LINES: u64 = 4096;
pub const LOG_WINDOW_BYTES: usize = 1 << 20;
/// How long a follower that says nothing can make a program wait. Above the 15 s after which a broker ends a
/// silent connection, so that one that reconnects has lost nothing.
pub const FOLLOW_LEASE_MS: u64 = 20_000;
/// Bytes of a reason, a failure's free text: what is longer is cut, with a note (see [`crate::reason`]).
pub const REASON_BYTES_MAX: usize = 2048;
/// Of who gave a command, as its client says it.
pub const GIVEN_BY_BYTES_MAX: usize = 128;
/// Bytes of a program's description in JSON: commands, moves and snapshots carry it beside other things.
pub const SPEC_BYTES_MAX: usize = 112 * 1024;
/// Bytes of the list of programs in an engine's status, in JSON. Longer ones are left out: each program has a
/// status of its own.
pub const LISTED_BYTES_MAX: usize = 16 * 1024;
/// Blobs one operation may name.
pub const BLOBS_PER_OPERATION_MAX: usize = 8;
/// How long a command may take when it does not say.
pub const TIME_LIMIT_MS: u64 = 30_000;
/// Longest time limit that is believed.
pub const TIME_LIMIT_MS_MAX: u64 = 24 * 3600 * 1000;
/// How far a copy that replaces one which may live after all raises the generation: above what the other can
/// reach by being moved before it hears of this one.
pub const REPLACING_GENERATIONS: u64 = 1000;
