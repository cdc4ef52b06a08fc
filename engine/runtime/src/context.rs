//! What the host functions of one program work on: the program's side of the host, apart from what it
//! shares with its handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmtime::{Global, Memory};
use wayfare_devices::{Held, Trouble};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::device::{Alias, DEVICES_MAX};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::health::Claims;
use wayfare_protocol::ids::Generation;
use wayfare_protocol::limits::ARGUMENT_BYTES_MAX;
use wayfare_protocol::snapshot::HostState;

use super::ProcessEvent;
use super::clock::Clock;
use super::control::Control;
use super::files::Files;
use super::memory::Limits;
use super::service_requests::LoadsKnown;
use super::variables::Variables;

/// Devices whose last trouble is remembered: as many as can be granted, and some that were not.
const TROUBLES_MAX: usize = 2 * DEVICES_MAX;

pub(super) type Sink = Arc<dyn Fn(ProcessEvent) + Send + Sync>;

pub(super) struct Context {
    pub(super) control: Arc<Control>,
    sink: Sink,
    /// The program's name first.
    pub(super) arguments: Vec<String>,
    /// As `NAME=value`.
    pub(super) environment: Vec<String>,
    stdin: Arc<[u8]>,
    pub(super) stdin_offset: u64,
    pub(super) files: Files,
    pub(super) grants: Box<Grants>,
    pub(super) generation: Generation,
    /// Of the stack of a fresh program here.
    pub(super) stack_bytes: usize,
    pub(super) clock: Clock,
    /// See [`HostState::blocked_until_ns`]: noted by the call that was left, and taken by the same call when
    /// it is issued again.
    pub(super) blocked_until_ns: Option<u64>,
    /// By the program's clock, where its rate of publishing is limited. Not in a snapshot: it is over before
    /// one arrives.
    pub(super) publish_after_ns: u64,
    /// What the dispatcher has said of candidates' engines. Not in a snapshot: it is asked again.
    pub(super) loads_known: Option<LoadsKnown>,
    pub(super) limits: Limits,
    pub(super) held: Held,
    /// What was said last about a device, so that it is said once.
    troubles: BTreeMap<Alias, String>,
    guest: Option<GuestHandles>,
}

/// What host functions need of the instance that calls them.
#[derive(Clone, Copy)]
pub(super) struct GuestHandles {
    pub(super) memory: Memory,
    pub(super) unwinding: Global,
}

impl Context {
    /// For a program that `spec` describes.
    pub(super) fn new(
        control: Arc<Control>,
        sink: Sink,
        (spec, variables): (&ProgramSpec, &Variables),
        stdin: Option<Arc<[u8]>>,
        limits: Limits,
    ) -> Self {
        Self {
            sink,
            arguments: std::iter::once(&spec.name).chain(&spec.args).cloned().collect(),
            environment: environment(spec, variables, &control),
            grants: spec.grants.clone(),
            stdin: stdin.unwrap_or_default(),
            ..Self::nobody(control, limits)
        }
    }

    /// For an instance that never runs.
    pub(super) fn nobody(control: Arc<Control>, limits: Limits) -> Self {
        Self {
            control,
            sink: Arc::new(|_| {}),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: Arc::default(),
            stdin_offset: 0,
            files: Files::default(),
            grants: Box::default(),
            generation: Generation::FIRST,
            stack_bytes: 0,
            clock: Clock::new(),
            blocked_until_ns: None,
            publish_after_ns: 0,
            loads_known: None,
            limits,
            held: Held::new(Arc::default(), BTreeSet::new()),
            troubles: BTreeMap::new(),
            guest: None,
        }
    }

    pub(super) fn restore(&mut self, mut host: HostState) -> Result<(), String> {
        self.control
            .lock()
            .service_requests
            .restore(host.service_request_next);
        let folders = std::mem::take(&mut self.files.folders);
        self.files = Files::restore(&std::mem::take(&mut host.files), folders)?;
        self.clock = Clock::at(host.monotonic_ns);
        self.control.lock().clock = self.clock;
        if let Some(environment) = host.environment.take() {
            let bytes: usize = environment.iter().map(|text| text.len() + 1).sum();
            if bytes > ARGUMENT_BYTES_MAX || environment.iter().any(|text| text.contains('\0')) {
                return Err("its environment is malformed".into());
            }
            self.environment = environment;
        }
        self.blocked_until_ns = host.blocked_until_ns;
        self.stdin_offset = host.stdin_offset;
        self.held.set_outputs(std::mem::take(&mut host.outputs));
        self.control.lock().said.restore(host.health);
        self.control.lock().log.restore(host)
    }

    pub(super) fn save(&self) -> HostState {
        let mut host = HostState {
            monotonic_ns: self.clock.now_ns(),
            blocked_until_ns: self.blocked_until_ns,
            stdin_offset: self.stdin_offset,
            environment: Some(self.environment.clone()),
            files: self.files.save(),
            outputs: self.held.outputs().clone(),
            ..HostState::default()
        };
        let shared = self.control.lock();
        if shared.stands_still() {
            shared.log.save_with_held(&mut host);
        } else {
            shared.log.save(&mut host);
        }
        host.service_request_next = shared.service_requests.next();
        host.health = shared.said.health();
        host.mail_arrived = shared.mail.arrived();
        host.mail = shared.mail.save();
        host.retained = shared.mail.retained();
        host
    }

    /// Before it runs.
    pub(super) fn drive_devices(&mut self) {
        for (alias, trouble) in self.held.drive() {
            self.tell_trouble(&alias, &trouble);
        }
    }

    /// When it stands still.
    pub(super) fn release_devices(&mut self) {
        for (alias, trouble) in self.held.release() {
            self.tell_trouble(&alias, &trouble);
        }
    }

    /// A line in its log about a call to a device that failed, unless it is the same as the last one.
    pub(super) fn tell_trouble(&mut self, alias: &Alias, trouble: &Trouble) {
        let line = match trouble {
            Trouble::NotGranted => {
                format!("wayfare: not granted: device '{alias}'; --allow-device at 'wayfare run' grants it")
            }
            _ => format!("wayfare: device '{alias}': {trouble}"),
        };
        let known = self.troubles.len() >= TROUBLES_MAX && !self.troubles.contains_key(alias);
        if !known && self.troubles.get(alias) != Some(&line) {
            self.control.tell(&line);
            self.say_lines();
            self.troubles.insert(alias.clone(), line);
        }
    }

    /// When a call that waits for `timeout_ms` (below zero: for ever) is over, by the program's clock. Issued
    /// again after a capture, it ends when it should have ended.
    pub(super) fn until_ns(&mut self, timeout_ms: i64) -> Option<u64> {
        let noted = self.blocked_until_ns.take();
        let timeout_ns = u64::try_from(timeout_ms).ok()?.saturating_mul(1_000_000);
        Some(noted.unwrap_or_else(|| self.clock.now_ns().saturating_add(timeout_ns)))
    }

    /// It has published so many: the next may come when its rate allows that.
    pub(super) fn pace(&mut self, count: u64) {
        if let Some(rate) = self.control.lock().mail.publishes_per_second_max() {
            self.publish_after_ns = self.clock.now_ns() + count * 1_000_000_000 / u64::from(rate);
        }
    }

    /// It goes on in the instance of an idle context, which had its memory made.
    pub(super) fn succeed(&mut self, idle: &Self) {
        self.guest = idle.guest;
        self.limits.succeed(&idle.limits);
    }

    pub(super) fn set_guest(&mut self, guest: Option<GuestHandles>) {
        self.guest = guest;
    }

    pub(super) fn guest(&self) -> wasmtime::Result<GuestHandles> {
        self.guest
            .ok_or_else(|| wasmtime::Error::msg("the module exports no memory named 'memory'"))
    }

    /// A clone of the handle, so that the bytes do not keep the context borrowed.
    pub(super) fn stdin(&self) -> Arc<[u8]> {
        self.stdin.clone()
    }

    /// Tells the sink, unless the program is being discarded.
    pub(super) fn say(&self, event: ProcessEvent) {
        if !self.control.lock().is_discarded() {
            (self.sink)(event);
        }
    }

    /// Says it if it was not said of these lines yet.
    pub(super) fn say_lines(&self) {
        if self.control.lock().log.announce() {
            self.say_lines_ready();
        }
    }

    /// Takes what the program says of itself.
    pub(super) fn claim(&self, claim: impl FnOnce(&mut Claims)) {
        self.control.lock().said.claim(claim);
        self.say_claims();
    }

    pub(super) fn say_claims(&self) {
        let is_news = self.control.lock().said.announce();
        if is_news {
            self.say(ProcessEvent::Claims);
        }
    }

    pub(super) fn say_lines_ready(&self) {
        self.say(ProcessEvent::LinesReady);
    }
}

/// As `NAME=value`: what the program was run with, and what it was granted of this engine's. A program that
/// goes on from a snapshot has what it had, since it may have read a part.
fn environment(spec: &ProgramSpec, variables: &Variables, control: &Control) -> Vec<String> {
    let mut all: Vec<String> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut bytes: usize = all.iter().chain(&spec.args).map(|text| text.len() + 1).sum();
    for name in spec
        .grants
        .env
        .iter()
        .filter(|name| !spec.env.contains_key(*name))
    {
        if !variables.offers(name) {
            control.tell(&format!(
                "wayfare: this engine gives no program the variable {name} (its setting allow-env)"
            ));
            continue;
        }
        let Ok(value) = std::env::var(name) else {
            continue; // Not set here, or no text: the program sees what it would see of a variable that is not there.
        };
        bytes += name.len() + value.len() + 2;
        if bytes > ARGUMENT_BYTES_MAX {
            tracing::warn!(name, "a granted variable is too long for its program");
            break;
        }
        all.push(format!("{name}={value}"));
    }
    all
}
