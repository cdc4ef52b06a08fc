//! An engine as it was last seen, and what is heard of it: whether it may be lost is judged from that
//! (`loss`).

use wayfare_fleet::fleet::EngineView;
use wayfare_protocol::ids::OperationId;

/// An engine under suspicion is asked again so often.
const ASK_AGAIN_MS: u64 = 500;

/// An engine as it was last seen.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    /// `None`: only heard of, as the place of something.
    pub(super) view: Option<EngineView>,
    pub(super) hearing: Hearing,
    /// It is above one of its marks.
    pub(super) is_pressed: bool,
    /// Nothing is shed before this: what was shed last is still in the figures.
    pub(super) shed_at_ms: u64,
    /// What it was last told of what is still to go, and to which question.
    pub(super) seen_off: Option<(OperationId, usize)>,
}

impl Watched {
    pub(super) fn new(health: Health) -> Self {
        Self {
            view: None,
            hearing: Hearing::new(health),
            is_pressed: false,
            shed_at_ms: 0,
            seen_off: None,
        }
    }

    /// Under which id it asks to be emptied, if it does.
    pub(super) fn leaving(&self) -> Option<OperationId> {
        let view = self.view.as_ref()?;
        view.leaving.filter(|_| view.online)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Here,
    /// Only its connection is known to have ended. It keeps what it has and gets nothing new.
    Suspected,
    /// It has not answered for a while. The same.
    Late,
    /// What it had is started elsewhere.
    Lost,
}

/// The limits, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct LossOptions {
    /// How often every engine is asked.
    pub poll_ms: u64,
    /// An engine that does not answer for so long gets nothing new,
    pub late_ms: u64,
    /// and what it had is started elsewhere after this;
    pub lost_ms: u64,
    /// after this, if its connection has ended as well;
    pub grace_ms: u64,
    /// but no sooner than this where the cause may be another than the engine: the longest that one takes to
    /// be back.
    pub reconnect_ms: u64,
}

/// What an engine owes an answer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) asked_ms: u64,
    /// When it was known to have passed through the broker: silence counts from then.
    pub(super) passed_ms: Option<u64>,
}

/// An engine that is offline, and has not said so itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion {
    pub(super) grace_ms: u64,
    /// When it was last asked by name.
    pub(super) asked_ms: u64,
}

/// What is heard of one engine.
#[derive(Debug, Clone)]
pub(super) struct Hearing {
    pub(super) health: Health,
    /// As people were last told.
    pub(super) told: Health,
    /// Messages of its own, as its view counts them.
    pub(super) messages: u64,
    /// The first that it has not answered.
    pub(super) question: Option<Question>,
    pub(super) suspicion: Option<Suspicion>,
    /// When its connection ended last.
    pub(super) fell_ms: Option<u64>,
    /// It has answered since this dispatcher began to act: that its connection ended is news then, and no
    /// will of before.
    pub(super) has_answered: bool,
}

impl Hearing {
    pub(super) fn new(health: Health) -> Self {
        Self {
            health,
            told: health,
            messages: 0,
            question: None,
            suspicion: None,
            fell_ms: None,
            has_answered: false,
        }
    }

    /// Takes in a new view of the engine.
    pub(super) fn seen(&mut self, view: &EngineView, now_ms: u64) {
        if std::mem::replace(&mut self.messages, view.messages) == view.messages {
            return;
        }
        // One message is retained, and may be of long ago.
        self.has_answered |= self.question.is_some() && view.online && view.messages > 1;
        self.question = None;
        // One that answers while its retained status is still its will is asked again, in its time.
        self.suspicion = self
            .suspicion
            .filter(|_| !view.online)
            .map(|suspicion| Suspicion {
                asked_ms: now_ms,
                ..suspicion
            });
        if self.health == Health::Lost {
            self.health = Health::Suspected;
        }
    }

    /// It is there, as far as is known.
    pub(super) fn is_here(&self) -> bool {
        self.health == Health::Here
    }

    pub(super) fn ask(&mut self, now_ms: u64) {
        self.question.get_or_insert(Question {
            asked_ms: now_ms,
            passed_ms: None,
        });
    }

    /// Begins a suspicion, or goes on with one; returns whether the engine is to be asked.
    pub(super) fn suspect(&mut self, grace_ms: u64, now_ms: u64) -> bool {
        match &mut self.suspicion {
            Some(suspicion) if now_ms < suspicion.asked_ms.saturating_add(ASK_AGAIN_MS) => return false,
            Some(suspicion) => suspicion.asked_ms = now_ms,
            None => {
                self.suspicion = Some(Suspicion {
                    grace_ms,
                    asked_ms: now_ms,
                });
                self.fell_ms = Some(now_ms);
                // What it was asked before may have been lost with its connection.
                self.question = None;
            }
        }
        self.ask(now_ms);
        true
    }

    /// For how long it has not answered, as far as everything has been read.
    pub(super) fn silent_ms(&self, read_ms: u64) -> u64 {
        let passed_ms = self.question.and_then(|question| question.passed_ms);
        passed_ms.map_or(0, |passed_ms| read_ms.saturating_sub(passed_ms))
    }

    pub(super) fn judge(
        &self,
        view: Option<&EngineView>,
        read_ms: u64,
        limits: &LossOptions,
    ) -> (Health, String) {
        let silent_ms = self.silent_ms(read_ms);
        let silence = format!("it has not answered for {silent_ms} ms");
        match &self.suspicion {
            _ if view.is_some_and(|view| view.stopped) => (Health::Lost, "it has stopped".to_owned()),
            // Until it is heard.
            _ if self.health == Health::Lost => (Health::Lost, silence),
            Some(suspicion) if silent_ms >= suspicion.grace_ms => {
                let why = format!("its connection to the broker has ended, and {silence}");
                (Health::Lost, why)
            }
            Some(_) => (Health::Suspected, silence),
            None if silent_ms >= limits.lost_ms => (Health::Lost, silence),
            None if silent_ms >= limits.late_ms => (Health::Late, silence),
            None => (Health::Here, "it answers".to_owned()),
        }
    }
}
