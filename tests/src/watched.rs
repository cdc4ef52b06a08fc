//! A program under observation: all that it prints to standard output, by a follower of its log.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wayfare_client::{Client, CommandError, Follow, LogItem, LogStream};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::log::Stream;
use wayfare_protocol::status::ProgramState;

use crate::within;

#[derive(Debug)]
pub struct Watched {
    pub program: ProgramId,
    stdout: watch::Receiver<Vec<String>>,
    task: JoinHandle<Collected>,
}

/// Everything, once it has ended.
#[derive(Debug)]
pub struct Collected {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Lines that nobody keeps any more, only ever at the beginning: what a copy did not inherit.
    pub missing: u64,
    pub state: Option<ProgramState>,
}

impl Watched {
    pub async fn follow(client: &Client, program: ProgramId) -> Self {
        let stream = client.logs(program, 0, Follow::UntilEnded).await;
        Self::begin(stream, program)
    }

    /// Of a program that was run with this follower: no line is missing.
    pub(crate) async fn follow_run(client: &Client, program: ProgramId, follower: OperationId) -> Self {
        let stream = client.follow(program, follower).await;
        Self::begin(stream, program)
    }

    fn begin(stream: Result<LogStream, CommandError>, program: ProgramId) -> Self {
        let stream = stream.expect("a log can be followed");
        let (lines, stdout) = watch::channel(Vec::new());
        let task = tokio::spawn(collect(stream, lines));
        Self {
            program,
            stdout,
            task,
        }
    }

    /// The program's id, as people give it.
    pub fn id(&self) -> String {
        self.program.to_string()
    }

    /// Lines on standard output so far.
    pub fn lines(&self) -> usize {
        self.stdout.borrow().len()
    }

    /// Waits until it has printed so many lines to standard output.
    pub async fn printed(&self, lines: usize) {
        let what = format!("program {} to print {lines} lines", self.program.short());
        let mut stdout = self.stdout.clone();
        let enough = within(&what, stdout.wait_for(|printed| printed.len() >= lines)).await;
        if enough.is_err() {
            panic!("waited for {what}, but it ended after {}", self.lines());
        }
    }

    /// Waits for more output: it is alive.
    pub async fn goes_on(&self) {
        self.printed(self.lines() + 3).await;
    }

    /// Waits for its end.
    pub async fn finish(self) -> Collected {
        let what = format!("program {} to end", self.program.short());
        within(&what, self.task)
            .await
            .expect("the log has no gaps and can be read")
    }

    /// All lines on standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout
            .borrow()
            .iter()
            .flat_map(|line| [line.as_bytes(), b"\n"].concat())
            .collect()
    }

    /// Waits for its end, and holds its whole standard output against an unmoved run's.
    pub async fn must_print(self, expected: &[u8]) {
        let collected = self.finish().await;
        assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
        assert_eq!(collected.missing, 0, "lines are missing at the beginning");
        must_equal(&collected.stdout, expected);
    }
}

async fn collect(mut stream: LogStream, lines: watch::Sender<Vec<String>>) -> Collected {
    let mut collected = Collected {
        stdout: Vec::new(),
        stderr: Vec::new(),
        missing: 0,
        state: None,
    };
    while let Some(item) = stream.next().await {
        match item.expect("the log goes on") {
            LogItem::Gap { from: 0, to } => collected.missing = to,
            LogItem::Gap { from, to } => panic!("lines {from} to {to} are missing"),
            LogItem::Line(line) if line.stream == Stream::Stdout => {
                line.write_to(&mut collected.stdout);
                let text = String::from_utf8_lossy(line.text.as_bytes()).into_owned();
                lines.send_modify(|lines| lines.push(text));
            }
            LogItem::Line(line) => line.write_to(&mut collected.stderr),
        }
    }
    collected.state = stream.ended().cloned();
    collected
}

/// Byte for byte, as far as both go.
pub fn must_begin_like(found: &[u8], expected: &[u8]) {
    let both = found.len().min(expected.len());
    must_equal(&found[..both], &expected[..both]);
}

/// Byte for byte; otherwise the first line that differs.
pub fn must_equal(found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let (mut left, mut right) = (found.split(|b| *b == b'\n'), expected.split(|b| *b == b'\n'));
    let mut line = 0;
    loop {
        line += 1;
        let (left, right) = (left.next(), right.next());
        if left != right {
            let show = |part: Option<&[u8]>| part.map(|part| String::from_utf8_lossy(part).into_owned());
            panic!(
                "line {line} is {:?}, an unmoved run prints {:?}",
                show(left),
                show(right)
            );
        }
    }
}
