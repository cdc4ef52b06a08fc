//! Programs that come, and those that others claim: what their sources have to show, and what is kept of it
//! to be shown again.

use std::time::{Duration, Instant};

use wayfare_protocol::code::PublicKey;
use wayfare_protocol::command::{Action, Command, ProgramSpec};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{EngineId, Generation, OperationId};
use wayfare_protocol::limits::CHALLENGE_MS;
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::trust::place::{Holding, Place};
use wayfare_protocol::trust::signed::answers;
use wayfare_protocol::trust::warrant::Warrant;
use wayfare_protocol::wire;

use super::{Signer, Trust};

/// Orders under which programs came: more than come while one is good for.
const ARRIVED_MAX: usize = 1_024;

impl Trust {
    /// Whether a program may come: its source has to show the order that sends it here.
    pub(crate) fn judge_offer(
        &mut self,
        envelope: &Envelope,
        (order, warrant): (Option<&str>, Option<Warrant>),
        now: Instant,
    ) -> Result<(), Failure> {
        let order = order.unwrap_or_default();
        // No order counts for longer. (Not with the commands: a copy may stay on the engine that is told to
        // make it.)
        let is_young = |at: Instant| now.duration_since(at) < 2 * Duration::from_millis(CHALLENGE_MS);
        self.arrived.retain(|(_, at)| is_young(*at));
        match self.passage(envelope, order, warrant, now) {
            Ok(()) => {
                self.challenges.count(envelope.operation);
                self.arrived.push_back((envelope.operation, now));
                if self.arrived.len() > ARRIVED_MAX {
                    self.arrived.pop_front();
                }
                self.is_to_show |= self.challenges.renew(now);
                if let Ok(command) = wire::decode(order.as_bytes()) {
                    self.note_place(&command, &envelope.from, order.as_bytes());
                }
                if let (Some(warrant), PeerMessage::Prepare { program, spec, .. }) =
                    (warrant, &envelope.message)
                    && self.is_warranted(&warrant, spec)
                {
                    self.places.keep_warrant(*program, warrant);
                }
                Ok(())
            }
            Err(why) => {
                self.show(now);
                self.without("a program that comes", &why, now)
            }
        }
    }

    fn passage(
        &self,
        envelope: &Envelope,
        order: &str,
        warrant: Option<Warrant>,
        now: Instant,
    ) -> Result<(), String> {
        let topic = self.topics.topic(&Topic::EngineCommand(envelope.from.clone()));
        let command: Result<Command, _> = wire::decode(order.as_bytes());
        let verb = command.as_ref().map_or("move", |command| command.action.verb());
        if let Signer::NotAsked = self
            .signer(&topic, order.as_bytes(), verb)
            .map_err(|why| format!("of the order that its source shows: {why}"))?
        {
            return Ok(());
        }
        let answered = answers(order.as_bytes()).get(&self.engine).copied();
        if !answered.is_some_and(|challenge| self.challenges.knows(challenge, now)) {
            return Err("the order that its source shows is an old one: give it again".into());
        }
        match command {
            Ok(command) if is_about(&command, envelope, &self.engine) => {}
            Ok(_) => return Err("the order that its source shows is another one".into()),
            Err(error) => return Err(format!("the order that its source shows cannot be read: {error}")),
        }
        let PeerMessage::Prepare { spec, .. } = &envelope.message else {
            return Err("it offers no program".into());
        };
        match warrant {
            Some(warrant) if self.is_warranted(&warrant, spec) => {}
            Some(_) => return Err("it is not what somebody whom the roster names has ordered".into()),
            None => return Err("its source does not show who ordered it: start it anew".into()),
        }
        // What is on its way is not judged again, so this one came, and is gone.
        let is_known = |(operation, _): &(OperationId, Instant)| *operation == envelope.operation;
        match self.arrived.iter().any(is_known) {
            true => Err("the order that its source shows was carried out before".into()),
            false => Ok(()),
        }
    }

    fn is_warranted(&self, warrant: &Warrant, spec: &ProgramSpec) -> bool {
        self.may_run(&warrant.0.key) && warrant.is_good(&self.topics, spec)
    }

    /// Whether somebody with this key may start programs.
    fn may_run(&self, key: &PublicKey) -> bool {
        let mut members = self.roster.iter().flat_map(|roster| &roster.members);
        members.any(|member| member.key == *key && member.may("run"))
    }

    /// Keeps the warrant of a program that a command starts, and the place that one has here by a command to
    /// `ordered`, which shows it.
    pub(super) fn note_place(&mut self, command: &Command, ordered: &EngineId, payload: &[u8]) {
        let holding = Holding::of(command, ordered).filter(|holding| holding.engine == self.engine);
        if let (Some(holding), Some(place)) = (holding, Place::shown_in(payload))
            && self.is_members(&place, &holding)
        {
            self.places.keep(&holding, place);
        }
        if let (Action::Run { program, spec, .. }, Some(warrant)) =
            (&command.action, Warrant::shown_in(payload))
            && self.is_warranted(&warrant, spec)
        {
            self.places.keep_warrant(*program, warrant);
        }
    }

    fn is_members(&self, place: &Place, holding: &Holding) -> bool {
        self.may_run(&place.0.key) && place.is_good(&self.topics, holding)
    }

    /// Whether another engine's status, which claims a program, counts: where signatures are required, it
    /// shows that a member has ordered it.
    pub(in crate::shell) fn believes(&mut self, holding: &Holding, status: &[u8]) -> bool {
        let is_ordered = || Place::shown_in(status).is_some_and(|place| self.is_members(&place, holding));
        // Before it has read a roster nothing was ever required here: what was started elsewhere meanwhile
        // counts.
        if self.root.is_none() || self.roster.is_none() || is_ordered() {
            return true;
        }
        let now = Instant::now();
        let claim = format!("that {} has program {}", holding.engine, holding.program.short());
        let why = "nobody whom the roster names is seen to have ordered it";
        let is_believed = self.without(&claim, why, now).is_ok();
        if !is_believed && let Some(unwritten) = self.doubts.due(now) {
            tracing::warn!(unwritten, "did not believe {claim}: {why}");
        }
        is_believed
    }

    /// The order that a message carries out, and the warrant of the program that it offers, where its
    /// receiver may want to see them.
    pub(crate) fn passage_of(
        &self,
        operation: OperationId,
        message: &PeerMessage,
    ) -> Option<(&str, Option<&Warrant>)> {
        let PeerMessage::Prepare { .. } = message else {
            return None;
        };
        let passage = self
            .passages
            .iter()
            .find(|passage| passage.operation == operation)?;
        let order = std::str::from_utf8(&passage.order).ok()?;
        Some((order, self.places.warrant(passage.program)))
    }
}

/// Whether `command` sends what the envelope offers to `engine`.
fn is_about(command: &Command, envelope: &Envelope, engine: &EngineId) -> bool {
    let PeerMessage::Prepare {
        program: offered,
        generation,
        ..
    } = &envelope.message
    else {
        return false;
    };
    let is_it = match &command.action {
        // One that names no generation would be good for any, and above some there is none.
        Action::Move { on, target } => {
            let owned = on.generation.is_some_and(|owned| owned.next() == *generation);
            on.program == *offered && target == engine && owned
        }
        Action::Spawn { target, copy, .. } => {
            copy == offered && target == engine && *generation == Generation::FIRST
        }
        _ => false,
    };
    is_it && command.operation == envelope.operation
}
