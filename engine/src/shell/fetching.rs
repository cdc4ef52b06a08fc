//! Getting a module's compiled code from the acting dispatcher: a pure core.
//!
//! ```text
//!            CodeMade                      all of it
//!   Asking -----------> Pulling blob ----------------> Whole
//!     ^  |                 |  |
//!     |  `-- Refused, or   |  `-- damaged: Failed
//!     |      silence:      |
//!     |      Failed        |
//!     `-------- silence ---'
//! ```
//! Asking again is harmless: a dispatcher that has the code answers at once, and whichever dispatcher acts by
//! then answers. An engine that could compile it itself has less patience, and hears first of all whether it
//! is made already.

use wayfare_protocol::code::{CodeTarget, PublicKey};
use wayfare_protocol::command::check_bytes;
use wayfare_protocol::ids::Blob;
use wayfare_protocol::limits::CODE_BYTES_MAX;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::pull::{Pull, Pulled, Puller};

const ASK_FIRST_MS: u64 = 1_000;
const ASK_MAX_MS: u64 = 4_000;

/// How long an engine waits for code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// A dispatcher that says nothing for this long is taken to be none.
    silence_ms: u64,
    /// How long it may take to make what it has not got.
    making_ms: u64,
}

impl Patience {
    /// Where nobody else compiles.
    pub(super) const COMPILES_NOT: Self = Self {
        silence_ms: 12_000,
        making_ms: u64::MAX,
    };
    /// Where it would be compiled otherwise, in a similar time.
    pub(super) const COMPILES: Self = Self {
        silence_ms: 6_000,
        making_ms: 60_000,
    };
}

/// What is to be got.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) module: Blob,
    pub(super) target: CodeTarget,
    pub(super) keys: Vec<PublicKey>,
    pub(super) patience: Patience,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "each is carried out at once")]
pub(super) enum Step {
    Say(PeerMessage),
    /// Some bytes of the module, to the dispatcher.
    SendChunk {
        offset: u64,
        bytes: usize,
    },
    /// The dispatcher is there, and has not made it yet.
    NotYet,
    /// The signed code. Nobody has looked at it.
    Whole(Vec<u8>),
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Fetch {
    wanted: Wanted,
    stage: Stage,
    heard_ms: u64,
}

#[derive(Debug)]
enum Stage {
    Asking {
        begun_ms: u64,
        again_ms: u64,
        wait_ms: u64,
    },
    Pulling(Puller),
}

impl Fetch {
    pub(super) fn begin(wanted: Wanted, now_ms: u64) -> (Self, Step) {
        let fetch = Self {
            wanted,
            stage: Stage::asking(now_ms),
            heard_ms: now_ms,
        };
        let ask = fetch.ask();
        (fetch, ask)
    }

    /// It is not known yet that the code is made.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking { .. })
    }

    #[cfg(test)]
    pub(super) fn module(&self) -> Blob {
        self.wanted.module
    }

    fn ask(&self) -> Step {
        let Wanted {
            module, target, keys, ..
        } = self.wanted.clone();
        Step::Say(PeerMessage::CodeWanted { module, target, keys })
    }

    /// From the dispatcher; `bytes` are those of a chunk.
    pub(super) fn message(&mut self, message: PeerMessage, bytes: &[u8], now_ms: u64) -> Vec<Step> {
        match message {
            PeerMessage::CodeUnderWay => {
                self.heard_ms = now_ms;
                return vec![Step::NotYet];
            }
            PeerMessage::Refused { failure } => return vec![Step::Failed(failure.to_string())],
            PeerMessage::CodeMade { code } => return self.made(code, now_ms),
            PeerMessage::Pull { blob, offset, chunks } if blob == self.wanted.module => {
                self.heard_ms = now_ms;
                let chunks = Pull { offset, chunks }.chunks_of(blob);
                let sent = chunks.map(|(offset, bytes)| Step::SendChunk { offset, bytes });
                return std::iter::once(Step::NotYet).chain(sent).collect();
            }
            PeerMessage::Chunk { blob, offset } => return self.chunk(blob, offset, bytes, now_ms),
            _ => {}
        }
        Vec::new()
    }

    fn made(&mut self, code: Blob, now_ms: u64) -> Vec<Step> {
        self.heard_ms = now_ms;
        if let Err(failure) = check_bytes("the module's code", code.bytes, CODE_BYTES_MAX) {
            return vec![Step::Failed(failure.to_string())];
        }
        match &self.stage {
            // Said twice.
            Stage::Pulling(puller) if puller.blob() == code => Vec::new(),
            _ => {
                let (puller, pull) = Puller::new(code, now_ms);
                self.stage = Stage::Pulling(puller);
                vec![say_pull(code, pull)]
            }
        }
    }

    fn chunk(&mut self, blob: Blob, offset: u64, bytes: &[u8], now_ms: u64) -> Vec<Step> {
        let Stage::Pulling(puller) = &mut self.stage else {
            return Vec::new();
        };
        if puller.blob() != blob {
            return Vec::new();
        }
        self.heard_ms = now_ms;
        match puller.chunk(offset, bytes, now_ms) {
            Pulled::Next(pull) => pull.map(|pull| say_pull(blob, pull)).into_iter().collect(),
            Pulled::Whole(code) => vec![Step::Whole(code)],
            Pulled::Damaged => vec![Step::Failed("it arrived damaged, again and again".into())],
        }
    }

    pub(super) fn tick(&mut self, now_ms: u64) -> Option<Step> {
        let Patience {
            silence_ms,
            making_ms,
        } = self.wanted.patience;
        let is_silent = now_ms.saturating_sub(self.heard_ms) >= silence_ms;
        match &mut self.stage {
            Stage::Asking { .. } if is_silent => Some(Step::Failed(format!(
                "no dispatcher answered within {} s; it compiles for engines that do not: start one with 'wayfare \
                 dispatcher'",
                silence_ms / 1000
            ))),
            Stage::Asking { begun_ms, .. } if now_ms.saturating_sub(*begun_ms) >= making_ms => {
                Some(Step::Failed(format!(
                    "the dispatcher has not made it in {} s",
                    making_ms / 1000
                )))
            }
            Stage::Asking {
                again_ms, wait_ms, ..
            } if *again_ms <= now_ms => {
                *wait_ms = (*wait_ms * 2).min(ASK_MAX_MS);
                *again_ms = now_ms + *wait_ms;
                Some(self.ask())
            }
            Stage::Pulling(_) if is_silent => {
                self.stage = Stage::asking(now_ms);
                self.heard_ms = now_ms;
                Some(self.ask())
            }
            Stage::Pulling(puller) => {
                let blob = puller.blob();
                puller.tick(now_ms).map(|pull| say_pull(blob, pull))
            }
            Stage::Asking { .. } => None,
        }
    }
}

impl Stage {
    fn asking(now_ms: u64) -> Self {
        Self::Asking {
            begun_ms: now_ms,
            again_ms: now_ms + ASK_FIRST_MS,
            wait_ms: ASK_FIRST_MS,
        }
    }
}

fn say_pull(blob: Blob, Pull { offset, chunks }: Pull) -> Step {
    Step::Say(PeerMessage::Pull { blob, offset, chunks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wayfare_protocol::error::Failure;

    const SILENCE_MS: u64 = Patience::COMPILES_NOT.silence_ms;

    fn begin() -> Fetch {
        begin_with(Patience::COMPILES_NOT)
    }

    fn begin_with(patience: Patience) -> Fetch {
        let wanted = Wanted {
            module: Blob::of(b"module"),
            target: wayfare_runtime::ahead::here(),
            keys: Vec::new(),
            patience,
        };
        let (fetch, first) = Fetch::begin(wanted, 0);
        assert_eq!(first, fetch.ask());
        fetch
    }

    fn pull(blob: Blob) -> PeerMessage {
        PeerMessage::Pull {
            blob,
            offset: 0,
            chunks: 1,
        }
    }

    #[test]
    fn asks_sends_the_module_and_pulls_the_code() {
        let (mut fetch, code) = (begin(), Blob::of(b"code"));
        let module = fetch.module();
        assert_eq!(
            fetch.message(pull(module), &[], 10),
            [Step::NotYet, Step::SendChunk { offset: 0, bytes: 6 }]
        );
        assert_eq!(fetch.message(pull(code), &[], 10), [], "not its module");
        assert_eq!(fetch.message(PeerMessage::CodeUnderWay, &[], 20), [Step::NotYet]);
        assert_eq!(
            fetch.message(PeerMessage::CodeMade { code }, &[], 30),
            [Step::Say(pull(code))]
        );
        assert_eq!(
            fetch.message(PeerMessage::CodeMade { code }, &[], 31),
            [],
            "said twice"
        );
        let chunk = |blob| PeerMessage::Chunk { blob, offset: 0 };
        assert_eq!(fetch.message(chunk(module), b"module", 32), [], "another blob");
        assert_eq!(
            fetch.message(chunk(code), b"code", 33),
            [Step::Whole(b"code".to_vec())]
        );
    }

    #[test]
    fn silence_ends_it_unless_the_dispatcher_is_at_work() {
        let mut fetch = begin();
        assert_eq!(fetch.tick(ASK_FIRST_MS - 1), None);
        assert_eq!(fetch.tick(ASK_FIRST_MS), Some(fetch.ask()));
        assert_eq!(fetch.tick(ASK_FIRST_MS), None);
        fetch.message(PeerMessage::CodeUnderWay, &[], SILENCE_MS - 1);
        assert_eq!(fetch.tick(SILENCE_MS), Some(fetch.ask()));
        match fetch.tick(2 * SILENCE_MS) {
            Some(Step::Failed(reason)) => assert!(reason.contains("wayfare"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_engine_that_compiles_waits_only_as_long_as_that_would_take() {
        let Patience {
            silence_ms,
            making_ms,
        } = Patience::COMPILES;
        let failed = |step: Option<Step>| matches!(step, Some(Step::Failed(_)));
        assert!(failed(begin_with(Patience::COMPILES).tick(silence_ms)));
        let (mut board, mut host) = (begin(), begin_with(Patience::COMPILES));
        for fetch in [&mut board, &mut host] {
            fetch.message(PeerMessage::CodeUnderWay, &[], making_ms - 1);
        }
        assert!(!failed(host.tick(making_ms - 1)));
        assert!(failed(host.tick(making_ms)) && !failed(board.tick(making_ms)));
    }

    #[test]
    fn a_dispatcher_that_goes_away_in_mid_transfer_is_followed_by_the_next() {
        let (mut fetch, code) = (begin(), Blob::of(&[7; 200_000]));
        fetch.message(PeerMessage::CodeMade { code }, &[], 0);
        assert!(matches!(
            fetch.tick(1_000),
            Some(Step::Say(PeerMessage::Pull { .. }))
        ));
        assert_eq!(fetch.tick(SILENCE_MS), Some(fetch.ask()));
    }

    #[test]
    fn refusals_and_what_is_too_large_end_it() {
        let failure = Failure::Cancelled;
        let refused = begin().message(PeerMessage::Refused { failure }, &[], 0);
        assert_eq!(refused, [Step::Failed("cancelled".into())]);
        let code = Blob {
            bytes: CODE_BYTES_MAX + 1,
            ..Blob::of(b"")
        };
        let too_large = begin().message(PeerMessage::CodeMade { code }, &[], 0);
        assert!(matches!(too_large[..], [Step::Failed(_)]));
    }
}
