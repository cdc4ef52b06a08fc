//! What the tests run: samples whose standard output depends on arguments and standard input alone, however
//! long they take over it.

use wayfare_client::Run;

/// A program to run, and how to have the same output quickly.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
    pub module: Vec<u8>,
    pub args: Vec<String>,
    /// With these it prints the same, sooner.
    pub reference_args: Vec<String>,
    pub stdin: Option<Vec<u8>>,
    /// It does not end while a test looks: what is expected of it is a beginning.
    pub is_endless: bool,
}

/// What is known of an endless program's output: more than any test waits for.
const ENDLESS_LINES: u32 = 3_000;

impl Job {
    /// A sample with these arguments.
    pub fn sample(name: &str, args: &[&str]) -> Self {
        let sample = wayfare_samples::find(name).expect("a sample of this name");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self {
            name: name.to_owned(),
            module: sample.wasm.to_vec(),
            reference_args: args.clone(),
            args,
            stdin: sample.stdin.map(<[u8]>::to_vec),
            is_endless: false,
        }
    }

    /// Prints a line for each step and sleeps in between, with `heap_kib` of state that changes.
    pub fn counter(steps: u32, period_ms: u32, heap_kib: u32) -> Self {
        let args = |period: u32| {
            [steps, period, heap_kib]
                .map(|number| number.to_string())
                .to_vec()
        };
        Self {
            args: args(period_ms),
            reference_args: args(0),
            ..Self::sample("counter", &[])
        }
    }

    /// A counter that goes on for as long as a test may take.
    pub fn endless(heap_kib: u32) -> Self {
        let reference = Self::counter(ENDLESS_LINES, 0, heap_kib);
        Self {
            reference_args: reference.args,
            is_endless: true,
            ..Self::counter(1_000_000, 20, heap_kib)
        }
    }

    /// Reads a book of 3,761 lines, pausing after each, and prints a line for each thousand.
    pub fn wordfreq(line_ms: u32) -> Self {
        let args = |pause: u32| vec!["20".to_owned(), pause.to_string()];
        Self {
            args: args(line_ms),
            reference_args: args(0),
            ..Self::sample("wordfreq", &[])
        }
    }

    /// WebAssembly as text, which prints what it prints.
    pub fn text(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            module: wat::parse_str(text).unwrap_or_else(|error| panic!("{error}")),
            args: Vec::new(),
            reference_args: Vec::new(),
            stdin: None,
            is_endless: false,
        }
    }

    /// The same, in a larger module: a section that nobody reads.
    pub fn padded(mut self, bytes: usize) -> Self {
        const CUSTOM: u8 = 0;
        let name = b"\x07padding";
        self.module.push(CUSTOM);
        let mut left = name.len() + bytes;
        // LEB128.
        while left >= 0x80 {
            self.module.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.module.push(left as u8);
        self.module.extend(name);
        self.module.resize(self.module.len() + bytes, 0);
        self
    }

    pub fn named(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    pub(crate) fn reference(&self) -> Self {
        Self {
            args: self.reference_args.clone(),
            ..self.clone().named("reference")
        }
    }

    pub fn order(&self, on: &str) -> Run {
        Run {
            name: self.name.clone(),
            module: self.module.clone(),
            args: self.args.clone(),
            stdin: self.stdin.clone(),
            on: Some(on.to_owned()),
            ..Run::default()
        }
    }
}
