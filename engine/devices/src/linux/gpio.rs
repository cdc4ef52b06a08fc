//! Lines of GPIO chips, through the kernel's character devices.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gpiocdev::Request;
use gpiocdev::chip::Chip;
use gpiocdev::line::{EdgeDetection, EdgeKind, Value};
use gpiocdev::request::Config;

use super::at;
use crate::config::{Bias, Line};
use crate::feed::Feed;
use crate::port::{Edge, Input, Output};

/// What `gpioinfo` shows.
const CONSUMER: &str = "wayfare";
const EDGES_MAX: usize = 256;
/// Of the thread that hears a line's edges.
const LISTENER_STACK_BYTES: usize = 128 << 10;

pub(super) struct OutputLine {
    line: Line,
    request: Mutex<Option<Request>>,
}

pub(super) struct InputLine {
    line: Line,
    edges: Arc<Feed<Edge>>,
    state: Mutex<InputState>,
}

struct InputState {
    request: Requested,
    /// It can be read, and this is why it tells no edges: not every chip does.
    no_edges: Option<String>,
}

enum Requested {
    Not,
    /// For its level only.
    Level(Request),
    /// A thread hears its edges, and ends with the request if that fails.
    Edges(Arc<Request>),
}

/// The chip is there, and has the line.
fn find(line: &Line) -> io::Result<()> {
    let failed = |error: gpiocdev::Error| at(&line.chip, &error);
    let chip = Chip::from_path(&line.chip).map_err(failed)?;
    let count = chip.info().map_err(failed)?.num_lines;
    if line.offset >= count {
        let reason = format!("it has {count} lines, and none of number {}", line.offset);
        return Err(at(&line.chip, &reason));
    }
    Ok(())
}

fn config(line: &Line) -> Config {
    let mut config = Config::default();
    config.on_chip(&line.chip).with_line(line.offset);
    if line.active_low {
        config.as_active_low();
    }
    config.with_bias(line.bias.map(|bias| match bias {
        Bias::PullUp => gpiocdev::line::Bias::PullUp,
        Bias::PullDown => gpiocdev::line::Bias::PullDown,
        Bias::Disabled => gpiocdev::line::Bias::Disabled,
    }));
    config
}

fn request(config: Config) -> gpiocdev::Result<Request> {
    Request::from_config(config).with_consumer(CONSUMER).request()
}

fn value(active: bool) -> Value {
    if active { Value::Active } else { Value::Inactive }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OutputLine {
    pub(super) fn find(line: &Line) -> io::Result<Self> {
        find(line)?;
        Ok(Self {
            line: line.clone(),
            request: Mutex::new(None),
        })
    }

    fn failed(&self, error: gpiocdev::Error) -> io::Error {
        at(&self.line.chip, &error)
    }
}

impl Output for OutputLine {
    fn drive(&self, active: bool) -> io::Result<()> {
        let mut held = locked(&self.request);
        if let Some(request) = &*held {
            return request
                .set_value(self.line.offset, value(active))
                .map_err(|error| self.failed(error));
        }
        // With the level from the first moment on: no glitch.
        let mut config = config(&self.line);
        config.as_output(value(active));
        *held = Some(request(config).map_err(|error| self.failed(error))?);
        Ok(())
    }

    /// As it is after a boot: inactive, and then an input, so that it drives nothing.
    fn release(&self) -> io::Result<()> {
        let Some(request) = locked(&self.request).take() else {
            return Ok(());
        };
        let mut as_input = config(&self.line);
        as_input.as_input();
        request
            .set_value(self.line.offset, Value::Inactive)
            .and_then(|()| request.reconfigure(&as_input))
            .map_err(|error| self.failed(error))
    }
}

impl InputLine {
    pub(super) fn find(line: &Line) -> io::Result<Self> {
        find(line)?;
        Ok(Self {
            line: line.clone(),
            edges: Arc::new(Feed::new(EDGES_MAX)),
            state: Mutex::new(InputState {
                request: Requested::Not,
                no_edges: None,
            }),
        })
    }

    fn failed(&self, error: gpiocdev::Error) -> io::Error {
        at(&self.line.chip, &error)
    }

    fn listen(&self) -> io::Result<Arc<Request>> {
        let mut config = config(&self.line);
        config.as_input().with_edge_detection(EdgeDetection::BothEdges);
        let request = Arc::new(request(config).map_err(|error| self.failed(error))?);
        let (heard, edges, chip) = (request.clone(), self.edges.clone(), self.line.chip.clone());
        std::thread::Builder::new()
            .name("gpio-edges".into())
            .stack_size(LISTENER_STACK_BYTES)
            .spawn(move || hear(&heard, &edges, chip))?;
        Ok(request)
    }
}

fn hear(request: &Request, edges: &Feed<Edge>, chip: PathBuf) {
    loop {
        match request.read_edge_event() {
            Ok(event) => edges.push(&[match event.kind {
                EdgeKind::Rising => Edge::Rising,
                EdgeKind::Falling => Edge::Falling,
            }]),
            Err(error) => return edges.fail(at(&chip, &error).to_string()),
        }
    }
}

impl Input for InputLine {
    fn level(&self) -> io::Result<bool> {
        let mut state = locked(&self.state);
        if matches!(state.request, Requested::Not) {
            let mut config = config(&self.line);
            config.as_input();
            match request(config) {
                Ok(request) => state.request = Requested::Level(request),
                Err(error) => {
                    // Then edges were not what was wrong.
                    state.no_edges = None;
                    return Err(self.failed(error));
                }
            }
        }
        let request = match &state.request {
            Requested::Level(request) => request,
            Requested::Edges(request) => request.as_ref(),
            Requested::Not => return Err(io::ErrorKind::NotConnected.into()),
        };
        let value = request
            .value(self.line.offset)
            .map_err(|error| self.failed(error))?;
        Ok(value == Value::Active)
    }

    fn edges(&self) -> io::Result<&Feed<Edge>> {
        let mut state = locked(&self.state);
        if let Some(reason) = &state.no_edges {
            return Err(io::Error::other(reason.clone()));
        }
        // The thread has one reference as long as it lives.
        if matches!(&state.request, Requested::Edges(request) if Arc::strong_count(request) > 1) {
            return Ok(&self.edges);
        }
        // The kernel gives a line to one request at a time.
        state.request = Requested::Not;
        self.edges.begin();
        match self.listen() {
            Ok(request) => state.request = Requested::Edges(request),
            Err(error) => {
                state.no_edges = Some(error.to_string());
                return Err(error);
            }
        }
        Ok(&self.edges)
    }
}
