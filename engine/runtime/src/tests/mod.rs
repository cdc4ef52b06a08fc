//! Whole processes: real modules through the real compiler, frozen, captured, moved and broken.
//!
//! They run without the compiler as well, as on boards: see [`loading`].

#[cfg(all(feature = "compiler", target_os = "linux", target_pointer_width = "64"))]
mod address_space;
mod asking;
mod calling;
mod devices;
mod failing;
mod features;
#[cfg(feature = "compiler")]
mod generated;
mod living;
mod loading;
mod logging;
mod moving;
#[cfg(feature = "compiler")]
mod official;
mod posix;
mod preview1;
#[cfg(feature = "compiler")]
mod resuming;
#[cfg(feature = "compiler")]
mod stacks;
mod talking;
#[cfg(all(feature = "compiler", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tiers;
mod wayfare;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use wayfare_mail::{Home, ReceivedMessage};
use wayfare_protocol::command::ProgramSpec;
use wayfare_protocol::error::Failure;
use wayfare_protocol::folder::FolderName;
use wayfare_protocol::ids::{Blob, Digest, Generation, ProgramId};
use wayfare_protocol::log::{LogLine, Stream};
use wayfare_protocol::snapshot::Snapshot;
use wayfare_protocol::status::ProgramState;
use wayfare_protocol::topics::Topics;

use self::loading::{load, load_sample, load_wasm, try_load};
use super::{Launch, Loaded, Process, ProcessEvent, Runtime, RuntimeOptions, launch};

/// Nothing in here takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(RuntimeOptions::default()).unwrap());

/// As on boards: Pulley's bytecode, interpreted.
#[cfg(feature = "compiler")]
fn interpreting(options: RuntimeOptions) -> Runtime {
    let settings = |_: &RuntimeOptions| {
        let mut config = super::options::config();
        config.target("pulley64").unwrap();
        config
    };
    Runtime::with_settings(options, settings).unwrap()
}

fn spec(args: &[&str]) -> ProgramSpec {
    ProgramSpec {
        name: "test".into(),
        module: Blob {
            digest: Digest([0; 32]),
            bytes: 0,
        },
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    }
}

/// A process and what it said.
struct Run {
    process: Process,
    events: Receiver<ProcessEvent>,
}

/// What to launch, with all that is seldom needed left at nothing.
#[derive(Clone)]
struct Plan {
    loaded: Arc<Loaded>,
    spec: ProgramSpec,
    stdin: Option<Arc<[u8]>>,
    folders: BTreeMap<FolderName, Arc<[u8]>>,
    journaled: Vec<ReceivedMessage>,
    /// `None`: the one that all share.
    runtime: Option<Arc<Runtime>>,
}

impl Plan {
    fn new(loaded: Arc<Loaded>) -> Self {
        Self {
            loaded,
            spec: spec(&[]),
            stdin: None,
            folders: BTreeMap::new(),
            journaled: Vec::new(),
            runtime: None,
        }
    }

    fn of(text: &str) -> Self {
        Self::new(load(text))
    }

    fn sample(name: &str) -> Self {
        let sample = wayfare_samples::find(name).unwrap();
        Self {
            loaded: load_sample(name),
            spec: spec(sample.quick_args),
            stdin: sample.stdin.map(Arc::from),
            folders: BTreeMap::new(),
            journaled: Vec::new(),
            runtime: None,
        }
    }

    fn launch(&self, snapshot: Option<Snapshot>, frozen: bool) -> Run {
        self.launch_as(Generation(0), snapshot, frozen)
    }

    /// In a life that begins as this generation.
    fn begin_life(&self, begun: Generation, snapshot: Option<Snapshot>) -> Run {
        let run = self.launch_as(begun, snapshot, false);
        run.expect_started();
        run
    }

    fn launch_as(&self, begun: Generation, snapshot: Option<Snapshot>, frozen: bool) -> Run {
        let (sender, events) = channel();
        let launched = Launch {
            begun,
            generation: Generation(3),
            home: Home {
                // Every run of a plan is the same program, moved.
                program: ProgramId::from_bytes([7; 16]),
                engine: "here".into(),
                topics: Topics::default(),
            },
            journaled: self.journaled.clone(),
            spec: self.spec.clone(),
            stdin: self.stdin.clone(),
            folders: self.folders.clone(),
            snapshot,
            frozen,
            is_known: false,
        };
        let sink = Mutex::new(sender);
        let process = launch(
            self.runtime.as_deref().unwrap_or(&RUNTIME),
            &self.loaded,
            launched,
            move |event| {
                drop(sink.lock().unwrap().send(event));
            },
        );
        Run {
            process: process.unwrap(),
            events,
        }
    }

    fn start(&self) -> Run {
        let run = self.launch(None, false);
        run.expect_started();
        run
    }

    fn restore(&self, snapshot: Snapshot) -> Run {
        let run = self.launch(Some(snapshot), false);
        run.expect_started();
        run
    }
}

impl Run {
    fn next(&self) -> ProcessEvent {
        self.events
            .recv_timeout(PATIENCE)
            .expect("an event should have come")
    }

    /// The next event that is not about lines.
    fn next_but_lines(&self) -> ProcessEvent {
        loop {
            match self.next() {
                ProcessEvent::LinesReady => {}
                event => return event,
            }
        }
    }

    fn expect_started(&self) {
        let event = self.next();
        assert!(matches!(event, ProcessEvent::Started(Ok(()))), "{event:?}");
    }

    fn start_failure(&self) -> Failure {
        match self.next() {
            ProcessEvent::Started(Err(failure)) => {
                assert!(
                    self.events.recv_timeout(PATIENCE).is_err(),
                    "nothing follows a failed start"
                );
                failure
            }
            event => panic!("{event:?}"),
        }
    }

    /// `Err`: it ended before.
    fn try_freeze(&self) -> Result<Duration, ProgramState> {
        let asked = Instant::now();
        self.process.freeze();
        match self.next_but_lines() {
            ProcessEvent::Frozen => Ok(asked.elapsed()),
            ProcessEvent::Ended(state) => Err(state),
            event => panic!("{event:?}"),
        }
    }

    fn freeze(&self) -> Duration {
        self.try_freeze().unwrap()
    }

    fn try_capture(&self, run_on: bool) -> Result<(Snapshot, u64), ProgramState> {
        self.process.capture(run_on, 7);
        match self.next_but_lines() {
            ProcessEvent::Captured {
                tag: 7,
                snapshot,
                stopped_us,
            } => Ok((*snapshot, stopped_us)),
            ProcessEvent::Ended(state) => Err(state),
            event => panic!("{event:?}"),
        }
    }

    fn capture(&self, run_on: bool) -> Snapshot {
        self.try_capture(run_on).unwrap().0
    }

    fn wait_for_lines(&self) {
        let event = self.next();
        assert!(matches!(event, ProcessEvent::LinesReady), "{event:?}");
    }

    /// Lines as they come, until there are `count`.
    fn lines(&self, count: usize) -> Vec<LogLine> {
        let mut lines = self.process.take_lines(usize::MAX);
        while lines.len() < count {
            self.wait_for_lines();
            lines.extend(self.process.take_lines(usize::MAX));
        }
        lines
    }

    /// Nothing happens for this long.
    fn expect_quiet(&self, time: Duration) {
        match self.events.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the end, acknowledging all lines as they come.
    fn end(&self) -> (Vec<LogLine>, ProgramState) {
        let mut lines = self.process.take_lines(usize::MAX);
        self.process.acknowledge_log(u64::MAX);
        loop {
            let event = self.next();
            lines.extend(self.process.take_lines(usize::MAX));
            self.process.acknowledge_log(u64::MAX);
            if let ProcessEvent::Ended(state) = event {
                return (lines, state);
            }
        }
    }

    fn end_well(&self) -> String {
        let (lines, state) = self.end();
        assert_eq!(state, ProgramState::Exited { code: 0 });
        stdout(&lines)
    }
}

fn stdout(lines: &[LogLine]) -> String {
    let mut out = Vec::new();
    lines
        .iter()
        .filter(|line| line.stream == Stream::Stdout)
        .for_each(|line| line.write_to(&mut out));
    String::from_utf8(out).unwrap()
}

fn through_the_wire(snapshot: &Snapshot) -> Snapshot {
    Snapshot::decode(&snapshot.encode()).unwrap()
}

/// A small generator, so that a failing test can be run again with the seed that it names.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}
