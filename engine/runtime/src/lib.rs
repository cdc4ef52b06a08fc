//! Runs programs: wasmtime, WASI preview 1, capture and restore. One operating-system thread each.
//!
//! ```text
//!              launch                         wayfare:start / wayfare:resume
//!   (thread) ---------> [building] --Started--> [stopped] ------------------> [running] --Ended-->
//!                           |                    ^  |  ^                          |
//!                      Started(Err)      Frozen, |  |  +-- site reached, frames --+
//!                                       Captured +--+      in the save memory
//! ```
//! The handle, [`Process`], never waits: it queues a request, raises the flag that the program's own code
//! polls, and wakes the program where a host call blocks. The thread answers through the sink, in order, from
//! *stopped*. A program that is stopped with nothing left in its queue runs on, unless a freeze was the last
//! word.
//!
//! The host functions are written out here rather than taken from wasmtime-wasi, whose state cannot be
//! captured: a blocked call must be able to leave without having had any effect, and be issued again
//! elsewhere.
//!
//! Reading order: `runtime` and `loaded` (a module made ready), `backend`, `baseline` and `succession` (two
//! tiers of code), `compiled` (what is kept of it), [`ahead`] (what is compiled for others), `rooms`
//! (stacks), `resuming` (what only a captured program needs), `control` (handle and thread meet), `thread`,
//! `instance` (in and out of Wasm, capture, restore), `wasi` with `files`, `cpu` (what it uses), `calls`,
//! `calling` and `toward` with `mail`, `values` with `service_requests` and `asking`, `device_calls`,
//! `channel` (the same as lines of files), `log`, `clock`. All `unsafe` is in `raw` and `flag`.
#![deny(unsafe_code)]

mod address_space;
pub mod ahead;
mod asking;
mod backend;
#[cfg(feature = "compiler")]
mod baseline;
mod calling;
mod calls;
mod channel;
mod choosing;
mod clock;
mod compiled;
mod context;
mod control;
mod cpu;
mod device_calls;
mod files;
mod flag;
mod image;
mod instance;
mod loaded;
mod log;
mod mailbox;
mod me;
mod memory;
mod options;
#[cfg(feature = "compiler")]
mod processors;
mod raw;
mod references;
mod resuming;
mod rooms;
mod runtime;
mod service_requests;
#[cfg(feature = "compiler")]
mod settings;
#[cfg(feature = "compiler")]
mod succession;
mod thread;
mod toward;
mod values;
mod variables;
mod wasi;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::folder::FolderName;
use wayfare_protocol::health::Claims;
use wayfare_protocol::ids::{Generation, OperationId};
use wayfare_protocol::log::LogLine;
use wayfare_protocol::numbers::Traffic;
use wayfare_protocol::open_calls::OpenCalls;
use wayfare_protocol::snapshot::Snapshot;
use wayfare_protocol::status::ProgramState;

pub use address_space::AddressSpace;
pub use compiled::{Compiled, CompiledError, Piece, Provenance, Trust};
use control::{Control, Request};
pub use loaded::{Loaded, MAY_COME_APART, Tier};
pub use mailbox::Mailbox;
pub use memory::Budget;
pub use options::RuntimeOptions;
#[cfg(feature = "compiler")]
pub use raw::confine;
pub use raw::step_back;
pub use resuming::Waited;
#[cfg(feature = "compiler")]
pub use runtime::CompileApart;
pub use runtime::{ReviveError, Runtime};
pub use service_requests::{Reply, ServiceAsk, ServiceRequest};
use thread::Task;
pub use variables::Variables;
use wayfare_mail::{Home, Mail, ReceivedMessage};

/// What the host functions, wasmtime and a sink need of a program's thread, apart from the program's own
/// stack.
const HOST_STACK_BYTES: usize = 512 << 10;

/// One program to be started.
pub struct Launch {
    pub home: Home,
    pub spec: ProgramSpec,
    /// The bytes of `spec.stdin`.
    pub stdin: Option<Arc<[u8]>>,
    /// The bytes of `spec.grants.folders`.
    pub folders: BTreeMap<FolderName, Arc<[u8]>>,
    /// Whole and already checked against the module; `None`: from the beginning.
    pub snapshot: Option<Snapshot>,
    /// As which generation its life began, if it begins with this launch or has begun since the snapshot;
    /// lower ones mean nothing.
    pub begun: Generation,
    pub generation: Generation,
    /// Messages that came after the snapshot was made, as the journal has them.
    pub journaled: Vec<ReceivedMessage>,
    /// Hold it until [`Process::unfreeze`].
    pub frozen: bool,
    /// It has been here before this start of the engine, and is not refused the memory that it had.
    pub is_known: bool,
}

/// What a program's thread says. Events of one program come in order.
#[derive(Debug)]
pub enum ProcessEvent {
    /// The first event, always. After an error nothing follows.
    Started(Result<(), Failure>),
    /// It stands still since a [`Process::freeze`]. One for each call of `freeze`, unless the program ended.
    Frozen,
    /// Answer to [`Process::capture`]. One for each call, unless the program ended.
    Captured {
        tag: u64,
        snapshot: Box<Snapshot>,
        /// How long the program stood still for it, from leaving its own code until it may go back into it.
        /// For a capture with `run_on` off, or of a frozen program: how long copying took.
        stopped_us: u64,
    },
    /// [`Process::take_lines`] went from nothing to something. Not said again until it has given all there
    /// is: what a fast program prints meanwhile gathers into the same batch.
    LinesReady,
    /// It asks something of the dispatcher, and waits for [`Process::service_answered`].
    Asks(ServiceRequest),
    /// It changed over to optimised code, in place: [`Loaded::better`].
    Changed,
    /// It provides another service, and the broker has granted that it is asked.
    Serves,
    /// [`Process::take_claims`] went from nothing to something. Not said again until it was taken.
    Claims,
    /// The last event: exited, trapped. Take what lines are left after it.
    Ended(ProgramState),
}

/// What a program has used and done since it was launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    pub traffic: Traffic,
    pub waiting_messages: u64,
    pub log_lines: u64,
    /// Of processors; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    pub memory_bytes: u64,
}

/// A launched program. Dropping it discards the program.
pub struct Process {
    control: Arc<Control>,
}

/// Starts the program's thread. What goes wrong in that thread comes as `Started(Err(..))`.
///
/// `sink` is called on the program's thread (never from within a method of [`Process`]) and must not block
/// long.
pub fn launch(
    runtime: &Runtime,
    loaded: &Arc<Loaded>,
    mut launch: Launch,
    sink: impl Fn(ProcessEvent) + Send + Sync + 'static,
) -> Result<Process, Failure> {
    let mail = mail_of(&mut launch)?;
    let control = Arc::new(Control::new(launch.frozen, mail));
    let name = format!("wasm-{}", launch.home.program.short());
    let sink: context::Sink = Arc::new(sink);
    #[cfg(feature = "compiler")]
    loaded.join(&control);
    let task = Task {
        options: runtime.options().clone(),
        loaded: loaded.clone(),
        launch,
        control: control.clone(),
        sink: sink.clone(),
    };
    let stack_bytes = runtime.thread_stack_bytes(loaded)?;
    std::thread::Builder::new()
        .name(name)
        .stack_size(stack_bytes)
        .spawn(move || {
            let started = AtomicBool::new(false);
            // A bug of ours must not leave the others waiting for a program that is gone.
            if catch_unwind(AssertUnwindSafe(|| task.run(&started))).is_err() {
                let reason = "the program's thread panicked".to_owned();
                sink(if started.into_inner() {
                    let reason = format!("internal error: {reason}");
                    ProcessEvent::Ended(ProgramState::Failed { reason })
                } else {
                    ProcessEvent::Started(Err(Failure::Internal { reason }))
                });
            }
        })
        .map_err(|error| Failure::Internal {
            reason: format!("no thread for the program: {error}"),
        })?;
    Ok(Process { control })
}

/// All of the program's messages so far. Not left to its thread: by then others could have come, and would
/// have their numbers.
fn mail_of(launch: &mut Launch) -> Result<Mail, Failure> {
    let mut mail = Mail::new(launch.home.clone(), (*launch.spec.grants).clone());
    if let Some(snapshot) = &mut launch.snapshot {
        mail.restore(&std::mem::take(&mut snapshot.host.mail))
            .map_err(|reason| Failure::Snapshot { reason })?;
        mail.restore_retained(std::mem::take(&mut snapshot.host.retained));
    }
    mail.begin_life(launch.begun);
    for message in std::mem::take(&mut launch.journaled) {
        mail.replay(message);
    }
    Ok(mail)
}

impl Process {
    /// Brings it to a stop at its next site; answered by [`ProcessEvent::Frozen`].
    pub fn freeze(&self) {
        self.control.request(Request::Freeze);
    }

    /// Copies its state, stopping it for that; answered by [`ProcessEvent::Captured`]. Afterwards it stays as
    /// it was with `run_on` (a frozen program stays frozen), and is frozen without.
    pub fn capture(&self, run_on: bool, tag: u64) {
        self.control.request(Request::Capture { run_on, tag });
    }

    /// A frozen program lives another life from here on, if one begins as this generation.
    pub fn begin_life(&self, begun: Generation) {
        self.control.lock().begin_life(begun);
    }

    /// Lets a frozen program run on in place. Requests are answered in the order they were made.
    pub fn unfreeze(&self) {
        self.control.request(Request::Unfreeze);
    }

    /// Ends the program without a trace, without waiting for it: its thread ends by itself soon. At most an
    /// event that was being said at this moment still arrives.
    pub fn discard(self) {}

    /// What the program has said of itself since this was last asked.
    pub fn take_claims(&self) -> Claims {
        self.control.lock().said.take()
    }

    /// The next log lines, in order, as many as fit a JSON array of `json_bytes_max` bytes (at least one if
    /// there are any). After a restore it begins with the lines that were not acknowledged. Also works after
    /// the program ended.
    pub fn take_lines(&self, json_bytes_max: usize) -> Vec<LogLine> {
        self.control.lock().log.take(json_bytes_max)
    }

    /// What was taken and did not reach the broker is taken again by [`Process::take_lines`].
    pub fn rewind_log(&self) {
        self.control.lock().log.rewind();
    }

    /// Lines below `below_line` are safely with the broker. Only lines that were taken count.
    pub fn acknowledge_log(&self, below_line: u64) {
        self.control.lock().log.acknowledge(below_line);
        self.control.log_changed();
    }

    /// What is kept of the log from line `since` on, and the number of the line that will be next.
    pub fn log_tail(&self, since: u64) -> (Vec<LogLine>, u64) {
        self.control.lock().log.tail(since)
    }

    /// Keeps lines from there on for followers: a program that is so far ahead of them waits. `None`: there
    /// are none.
    pub fn hold_log(&self, from: Option<u64>) {
        self.control.lock().log.hold(from);
        self.control.log_changed();
    }

    /// What is kept of the log apart from what followers lack, and the number of the line that will be next.
    pub fn log_for_disk(&self) -> (Vec<LogLine>, u64) {
        self.control.lock().log.without_held()
    }

    /// While connected (the initial state) a program that prints faster than lines are acknowledged waits;
    /// otherwise its oldest unacknowledged lines are dropped, which their numbers show, unless it has a
    /// follower.
    pub fn set_connected(&self, connected: bool) {
        self.control.lock().log.connected = connected;
        self.control.log_changed();
    }

    /// Its messages, for its MQTT session.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox(self.control.clone())
    }

    /// Whether it still waits for the answer to this request.
    pub fn is_waiting_for(&self, request: OperationId) -> bool {
        self.control.lock().service_requests.is_waiting(request)
    }

    /// The dispatcher has answered. Nothing if the program does not wait for that any more.
    pub fn service_answered(&self, request: OperationId, answer: Result<Reply, Failure>) {
        self.control.lock().service_requests.answer(request, answer);
        self.control.wake_program();
    }

    /// What it has used and done since it was launched.
    pub fn measured(&self) -> Measured {
        let shared = self.control.lock();
        let (traffic, waiting) = shared.mail.traffic();
        Measured {
            traffic,
            waiting_messages: waiting as u64,
            log_lines: shared.log.written(),
            cpu: self.control.time.used(),
            memory_bytes: self.control.memory_bytes(),
        }
    }

    /// What calls it has made and was sent that have no end.
    pub fn open_calls(&self) -> OpenCalls {
        let shared = self.control.lock();
        shared.mail.open_calls(shared.clock.now_ns(), clock::now_ms())
    }

    /// Linear memory in use; 0 once it ended.
    pub fn memory_bytes(&self) -> u64 {
        self.control.memory_bytes()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.control.discard();
    }
}
