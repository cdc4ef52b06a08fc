//! A broker, engines, a dispatcher and a spy; all gone when the value is dropped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use wayfare_client::app::ask::{AppStatus, Ask};
use wayfare_client::app::manifest;
use wayfare_client::{Client, ClientOptions, CommandError, CommandOptions, Finished, Operation, Order, Run};
use wayfare_dispatcher::compilers::Compiler;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{MoveReport, Outcome};
use wayfare_protocol::ids::{BootId, Digest, OperationId, ProgramId};
use wayfare_protocol::status::{EngineState, ProgramState};
use wayfare_protocol::trust::roster::{Member, Orders, Role, Roster};

use crate::broker::{Broker, Kind};
use crate::cable::Cable;
use crate::job::Job;
use crate::process::EngineProcess;
use crate::registry::{Registry, own_compiler};
use crate::spy::{Heard, Spy};
use crate::watched::{Watched, must_begin_like};
use crate::{WAIT_MAX, within};

/// Each starts several processes that compile modules: more at a time would only starve each other.
const FLEETS_MAX: usize = 3;
static FLEETS: Semaphore = Semaphore::const_new(FLEETS_MAX);
/// Between two looks at what gives no sign of its own.
const LOOK_PERIOD: Duration = Duration::from_millis(10);
/// The same of what the dispatcher is asked.
const ASK_PERIOD: Duration = Duration::from_millis(100);
/// Shown when a test fails; `WAYFARE_TESTS_MESSAGES` asks for more.
const TAIL_MESSAGES: usize = 150;

/// What a fleet consists of.
#[derive(Debug)]
pub struct Setup {
    binary: PathBuf,
    broker: Kind,
    engines: Vec<(String, Program, Vec<String>)>,
    cables: Vec<String>,
    compilers: Option<Vec<Compiler>>,
    is_signed: bool,
}

/// What runs an engine.
#[derive(Debug, Clone)]
enum Program {
    /// The binary of this setup.
    Ours,
    /// A `wayfare-engine` of another build, perhaps through an emulator: words of a command.
    Other(Vec<String>),
}

impl Setup {
    /// `binary` runs an engine, as `env!("CARGO_BIN_EXE_wayfare-test-engine")` does.
    pub fn new(binary: impl AsRef<Path>, broker: Kind) -> Self {
        Self {
            binary: binary.as_ref().to_owned(),
            broker,
            engines: Vec::new(),
            cables: Vec::new(),
            compilers: None,
            is_signed: false,
        }
    }

    /// Whose engines take only what is signed: by the fleet's client, whose key its roster names as an
    /// operator's.
    pub fn signed(self) -> Self {
        Self {
            is_signed: true,
            ..self
        }
    }

    /// With a dispatcher that compiles for engines which do not. Its key is
    /// [`registry_key`](crate::registry::registry_key).
    pub fn registry(self) -> Self {
        self.registry_of(vec![Compiler::Own(own_compiler())])
    }

    /// The same with other compilers.
    pub fn registry_of(self, compilers: Vec<Compiler>) -> Self {
        Self {
            compilers: Some(compilers),
            ..self
        }
    }

    /// An engine that another build runs: the words of a command, before the arguments that every engine
    /// gets.
    pub fn other_engine(mut self, name: &str, command: &[String], arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let program = Program::Other(command.to_vec());
        self.engines.push((name.to_owned(), program, arguments));
        self
    }

    pub fn engine(mut self, name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.engines.push((name.to_owned(), Program::Ours, arguments));
        self
    }

    pub fn engines(self, names: &[&str]) -> Self {
        names.iter().fold(self, |setup, name| setup.engine(name, &[]))
    }

    /// An engine whose connection to the broker can be pulled.
    pub fn behind_cable(mut self, name: &str) -> Self {
        self.cables.push(name.to_owned());
        self.engine(name, &[])
    }

    pub async fn start(self) -> Fleet {
        let permit = FLEETS.acquire().await.expect("nobody closes it");
        let folder = tempfile::Builder::new().prefix("wayfare-tests-").tempdir();
        let folder = folder.expect("a temporary folder");
        let binaries = self.binary.parent().expect("a file is in a folder");
        let broker = Broker::start(self.broker, binaries).await;
        let url = broker.url();
        let mut cables = BTreeMap::new();
        for name in self.cables {
            cables.insert(name, Cable::to(&url).await);
        }
        let trust_root = self.is_signed.then(|| signing_key(ROOT).public());
        let registry = self.compilers.map(|compilers| {
            let data = folder.path().join("registry");
            Registry::start_with(url.clone(), data, compilers, trust_root)
        });
        let start = |(name, program, arguments): (String, Program, Vec<String>)| {
            let address = cables.get(&name).map_or_else(|| broker.url_of(&name), Cable::url);
            let words = match program {
                Program::Ours => vec![self.binary.display().to_string()],
                Program::Other(words) => words,
            };
            let root = trust_root.map(|root| ["--trust-root".to_owned(), root.to_string()]);
            let login = broker
                .login_of(&name)
                .map(|login| login_file(folder.path(), &name, &login));
            let more = [root, login].into_iter().flatten().flatten();
            let arguments: Vec<String> = arguments.into_iter().chain(more).collect();
            let engine = EngineProcess::start(&words, &name, &address, folder.path(), &arguments);
            (name, engine)
        };
        let engines = self.engines.into_iter().map(start).collect();
        let spy = Spy::start(url.clone()).await;
        let mut options = ClientOptions::new(url);
        options.key = self.is_signed.then(|| Arc::new(signing_key(OPERATOR)));
        let client = Client::connect(options).await.expect("the broker is there");
        if self.is_signed {
            let published = client
                .publish_roster(&signing_key(ROOT), &roster(1, Orders::Require))
                .await;
            published.expect("the broker takes it");
        }
        let fleet = Fleet {
            client,
            spy,
            engines,
            cables,
            registry,
            broker,
            folder,
            _permit: permit,
        };
        fleet.all_online().await;
        fleet
    }
}

/// The arguments that give an engine its login.
fn login_file(folder: &Path, engine: &str, login: &str) -> [String; 2] {
    let path = folder.join(format!("{engine}.login"));
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let written = file.and_then(|mut file| file.write_all(login.as_bytes()));
    written.expect("a file in the test's own folder");
    ["--broker-login".to_owned(), path.display().to_string()]
}

/// Signs rosters.
pub const ROOT: u8 = 1;
/// Signs what the client of a signed fleet orders.
pub const OPERATOR: u8 = 2;

/// The keys of tests.
pub fn signing_key(number: u8) -> SecretKey {
    SecretKey::from_random([number; 32])
}

/// Names the operator.
pub fn roster(version: u64, orders: Orders) -> Roster {
    let operator = Member {
        name: "operator".parse().expect("letters make a name"),
        key: signing_key(OPERATOR).public(),
        roles: [Role::Operator].into(),
    };
    Roster {
        version,
        orders,
        members: vec![operator],
        ..Roster::empty()
    }
}

/// A running fleet.
#[derive(Debug)]
pub struct Fleet {
    pub client: Client,
    pub spy: Spy,
    engines: BTreeMap<String, EngineProcess>,
    cables: BTreeMap<String, Cable>,
    pub registry: Option<Registry>,
    pub broker: Broker,
    folder: TempDir,
    _permit: SemaphorePermit<'static>,
}

impl Fleet {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another client, which signs nothing.
    pub async fn client(&self) -> Client {
        let client = Client::connect(ClientOptions::new(self.broker.url())).await;
        client.expect("the broker is there")
    }

    pub fn engine(&mut self, name: &str) -> &mut EngineProcess {
        self.engines.get_mut(name).expect("an engine of this fleet")
    }

    pub fn cable(&self, name: &str) -> &Cable {
        self.cables
            .get(name)
            .expect("an engine of this fleet behind a cable")
    }

    /// Waits until the dispatcher sees every engine that is up, and no other.
    pub async fn all_online(&self) {
        let mut seen = 0;
        let all_online = async {
            loop {
                let views = self.client.engines().await.expect("open");
                let is_online = |name: &str| views.iter().any(|v| v.engine.as_str() == name && v.online);
                if self
                    .engines
                    .iter()
                    .all(|(name, engine)| is_online(name) == engine.is_up())
                {
                    return;
                }
                self.client.changed(&mut seen).await.expect("open");
            }
        };
        within("the engines to be seen online, or offline", all_online).await;
    }

    /// Starts engines again that were killed or stopped, or kills them first, and waits until they are back.
    pub async fn start_again(&mut self, names: &[&str]) {
        let earlier: Vec<_> = names
            .iter()
            .map(|name| self.spy.with(|all| boot(all, name)))
            .collect();
        for name in names {
            self.engine(name).start_again();
        }
        for (name, earlier) in names.iter().zip(earlier) {
            let is_back = |all: &[Heard]| boot(all, name) != earlier;
            self.spy.sees(&format!("engine {name} to be back"), is_back).await;
        }
        self.all_online().await;
    }

    /// Loads the job's module on these engines, so that neither a move nor another capture waits for that: a
    /// short program may end before the code is compiled that resumes it.
    pub async fn loads(&self, job: &Job, engines: &[&str]) {
        self.loads_for(engines, |engine| job.order(engine)).await;
    }

    /// The same of orders that are no jobs.
    pub async fn loads_for(&self, engines: &[&str], order: impl Fn(&str) -> Run) {
        let order = &order;
        let loads = engines.iter().map(|engine| async move {
            let what = format!("engine {engine} to have compiled all of {}", order(engine).name);
            within(&what, async {
                while !self.is_captured_once(order(engine)).await {}
            })
            .await;
        });
        futures::future::join_all(loads).await;
    }

    /// Runs it for a snapshot, and says whether that was taken before it ended.
    async fn is_captured_once(&self, order: Run) -> bool {
        let options = CommandOptions::default();
        let watched = self.runs(order).await;
        let taken = match self.client.apply(Order::snapshot(&watched.id()), &options).await {
            Ok(operation) => within("a snapshot", operation.wait()).await.map(drop),
            Err(error) => Err(error),
        };
        done(self.client.apply(Order::kill(&watched.id()), &options).await).await;
        self.gone(watched.program).await;
        match taken {
            Ok(()) => true,
            Err(CommandError::Failed {
                failure: Failure::Ended { .. } | Failure::WrongState { .. },
                ..
            }) => false,
            Err(error) => panic!("no snapshot: {error}"),
        }
    }

    /// Gives an order, with nothing special about it.
    pub async fn apply(&self, order: Order) -> Result<Operation, CommandError> {
        self.client.apply(order, &CommandOptions::default()).await
    }

    /// Runs it, and follows what it prints.
    pub async fn run(&self, job: &Job, on: &str) -> Watched {
        self.runs(job.order(on)).await
    }

    /// The same of an order that is no job.
    pub async fn runs(&self, order: Run) -> Watched {
        let follower = OperationId::random();
        let order = Run {
            follower: Some(follower),
            ..order
        };
        let run = self.apply(Order::run(order)).await;
        match done(run).await.outcome {
            Outcome::Running { program, .. } => Watched::follow_run(&self.client, program, follower).await,
            other => panic!("run was answered with {other:?}"),
        }
    }

    /// Applies a manifest whose modules are found by `module`.
    pub async fn applies(&self, text: &str, module: impl FnMut(&str) -> Result<Vec<u8>, String>) {
        let mut module = module;
        let make = |name: &str| module(name).map(manifest::Made::from);
        let no_file = |name: &str| Err(format!("{name}: no such file"));
        let resolved = manifest::resolve(text, make, no_file).unwrap_or_else(|error| panic!("{error}"));
        let uploaded = self.client.upload(&resolved.blobs, WAIT_MAX, |_, _| {}).await;
        uploaded.expect("the dispatcher takes it");
        let (spec, expects) = (resolved.spec, None);
        let applied = self.client.ask_apps(&Ask::apply(spec, expects), WAIT_MAX).await;
        let _: serde_json::Value = applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the only application is so that `find` finds what it looks for.
    pub async fn application<T>(&self, what: &str, mut find: impl FnMut(&AppStatus) -> Option<T>) -> T {
        let look = async {
            loop {
                let ask = Ask::Status { application: None };
                let answer = self.client.ask_apps(&ask, WAIT_MAX).await;
                let status: Vec<AppStatus> = answer.unwrap_or_else(|error| panic!("{error}"));
                if let Some(found) = find(&status[0]) {
                    return found;
                }
                tokio::time::sleep(ASK_PERIOD).await;
            }
        };
        within(what, look).await
    }

    /// The standard output of an unmoved run, here or in an earlier fleet.
    pub async fn expected(&self, job: &Job, on: &str) -> Vec<u8> {
        let key = (Digest::of(&job.module), job.reference_args.clone());
        if let Some(known) = expectations().get(&key) {
            return known.clone();
        }
        let stdout = self.unmoved(job, on).await;
        expectations().insert(key, stdout.clone());
        stdout
    }

    /// As its engine published it.
    async fn unmoved(&self, job: &Job, on: &str) -> Vec<u8> {
        let run = self.apply(Order::run(job.reference().order(on))).await;
        let Outcome::Running { program, .. } = done(run).await.outcome else {
            panic!("run was answered with something else");
        };
        let what = format!("program {} to end well", program.short());
        let exited = |heard: &Heard| {
            matches!(heard, Heard::Program(status)
                if status.program == program && status.state == ProgramState::Exited { code: 0 })
        };
        self.spy.sees(&what, |all| all.iter().any(exited)).await;
        let mut stdout = self.spy.stdout(program, on).await;
        if job.is_endless {
            // The last line says that it is the last.
            let end = stdout.trim_ascii_end().iter().rposition(|byte| *byte == b'\n');
            stdout.truncate(end.map_or(0, |newline| newline + 1));
        }
        assert!(!stdout.is_empty());
        stdout
    }

    /// Moves it, which must succeed.
    pub async fn moves(&self, program: ProgramId, to: &str) -> MoveReport {
        match done(self.start_move(program, to).await).await.outcome {
            Outcome::Moved { report, .. } => report,
            other => panic!("move was answered with {other:?}"),
        }
    }

    pub async fn start_move(&self, program: ProgramId, to: &str) -> Result<Operation, CommandError> {
        let options = CommandOptions::default();
        self.client
            .apply(Order::move_to(&program.to_string(), to), &options)
            .await
    }

    /// Waits until exactly one live copy is there, in a settled state; answers with its engine. Believes the
    /// reports of the engines only where the threads of their processes agree.
    pub async fn settled(&self, program: ProgramId) -> (String, ProgramState) {
        let report = self.client.request_status_reports(Duration::from_secs(10)).await;
        report.expect("the client is open");
        let one = |all: &[Heard]| match Spy::owners(all, program).as_slice() {
            [(engine, state @ (ProgramState::Running | ProgramState::Paused))] => {
                Some((engine.to_string(), state.clone()))
            }
            _ => None,
        };
        let what = format!(
            "exactly one live copy of program {}, by all reports",
            program.short()
        );
        self.spy.sees(&what, |all| one(all).is_some()).await;
        let (engine, state) = self.spy.with(one).expect("a settled program stays where it is");
        let what = format!("one thread for program {}, on {engine}", program.short());
        let one_thread = async {
            let counted = |process: &EngineProcess| process.threads_of(program);
            while self
                .engines
                .iter()
                .any(|(name, e)| counted(e) != usize::from(*name == engine))
            {
                // Nothing tells that a thread of another process has ended, except looking.
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        within(&what, one_thread).await;
        (engine, state)
    }

    /// What every test of a fault ends with: the program runs exactly once, somewhere, goes on, prints what
    /// an unmoved run prints, and nobody ever said anything that breaks a rule. Answers with where it runs.
    pub async fn runs_once(&self, watched: &Watched, expected: &[u8]) -> String {
        watched.goes_on().await;
        let (engine, state) = self.settled(watched.program).await;
        assert_eq!(state, ProgramState::Running);
        watched.goes_on().await;
        must_begin_like(&watched.stdout(), expected);
        self.spy.check_history();
        engine
    }

    /// That, and its end is an unmoved run's too.
    pub async fn runs_once_to_its_end(&self, watched: Watched, expected: &[u8]) -> String {
        let engine = self.runs_once(&watched, expected).await;
        watched.must_print(expected).await;
        self.spy.check_history();
        engine
    }

    /// Kills it, and waits until nothing is left of it.
    pub async fn kills(&self, watched: Watched) {
        let program = watched.program;
        let killed = self.apply(Order::kill(&watched.id())).await;
        assert_eq!(done(killed).await.outcome, Outcome::Killed { program });
        self.gone(program).await;
        assert_eq!(watched.finish().await.state, None);
    }

    /// Waits until no engine has a copy.
    pub async fn gone(&self, program: ProgramId) {
        let what = format!("program {} to be gone", program.short());
        self.spy
            .sees(&what, |all| Spy::owners(all, program).is_empty())
            .await;
        let no_thread = async {
            while self.engines.values().any(|engine| engine.threads_of(program) > 0) {
                // As in `settled`.
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        within(&what, no_thread).await;
    }
}

type Expectations = BTreeMap<(Digest, Vec<String>), Vec<u8>>;

fn expectations() -> MutexGuard<'static, Expectations> {
    static KNOWN: Mutex<Expectations> = Mutex::new(BTreeMap::new());
    KNOWN.lock().expect("nobody panics with it")
}

/// The process that an engine was when it was online last.
fn boot(all: &[Heard], engine: &str) -> Option<BootId> {
    all.iter().rev().find_map(|heard| match heard {
        Heard::Engine(status) if status.engine.as_str() == engine && status.state == EngineState::Online => {
            Some(status.boot)
        }
        _ => None,
    })
}

/// The operation's good end.
///
/// # Panics
/// Where it ends badly.
pub async fn done(operation: Result<Operation, CommandError>) -> Finished {
    let operation = operation.unwrap_or_else(|error| panic!("not sent: {error}"));
    let finished = within("an operation to end", operation.wait()).await;
    finished.unwrap_or_else(|error| panic!("operation failed: {error}"))
}

/// The operation's bad end, where it was refused or failed.
///
/// # Panics
/// Where it succeeds.
pub async fn failed(operation: Result<Operation, CommandError>) -> CommandError {
    let result = match operation {
        Ok(operation) => within("an operation to end", operation.wait()).await,
        Err(error) => return error,
    };
    match result {
        Err(error) => error,
        Ok(finished) => panic!("it should have failed: {:?}", finished.outcome),
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let asked = std::env::var("WAYFARE_TESTS_MESSAGES").ok();
            let messages = asked.and_then(|text| text.parse().ok()).unwrap_or(TAIL_MESSAGES);
            eprintln!("\n--- the last messages\n{}", self.spy.tail(messages));
            for (name, engine) in &self.engines {
                eprintln!("\n--- engine {name} said\n{}", engine.log());
            }
        }
    }
}
