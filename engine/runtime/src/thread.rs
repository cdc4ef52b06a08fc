//! The loop that a program's thread runs: builds the program, then alternates between running it and
//! doing what was asked while it stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use wayfare_devices::Held;
use wayfare_protocol::error::Failure;
use wayfare_protocol::status::ProgramState;

use super::clock::now_ms;
use super::context::Context;
use super::control::{Control, Next};
use super::files::Files;
use super::files::folders::Folders;
use super::instance::{Instance, Ran};
use super::loaded::Loaded;
use super::memory::Limits;
use super::options::RuntimeOptions;
use super::{Launch, ProcessEvent};

pub(super) struct Task {
    pub(super) options: RuntimeOptions,
    pub(super) loaded: Arc<Loaded>,
    pub(super) launch: Launch,
    pub(super) control: Arc<Control>,
    pub(super) sink: super::context::Sink,
}

impl Task {
    /// `started` becomes true when success was said.
    pub(super) fn run(self, started: &AtomicBool) {
        let (control, sink) = (self.control.clone(), self.sink.clone());
        let _counting = control.time.begin();
        let result = match self.build() {
            Ok(instance) => {
                sink_unless_discarded(&control, &sink, ProcessEvent::Started(Ok(())));
                started.store(true, Ordering::Relaxed);
                serve(instance)
            }
            Err(failure) => {
                sink_unless_discarded(&control, &sink, ProcessEvent::Started(Err(failure)));
                return;
            }
        };
        // The instance is gone: whoever hears of the end can count on its memory being free.
        let state = match result {
            Ok(None) => return,
            Ok(Some(state)) => state,
            Err(failure) => ProgramState::Failed {
                reason: wayfare_protocol::reason::cut(failure.to_string()),
            },
        };
        let news = {
            let mut shared = control.lock();
            shared.log.close(now_ms());
            shared.log.announce()
        };
        control.set_memory_bytes(0);
        if news {
            sink_unless_discarded(&control, &sink, ProcessEvent::LinesReady);
        }
        sink_unless_discarded(&control, &sink, ProcessEvent::Ended(state));
    }

    fn build(self) -> Result<Instance, Failure> {
        let Self {
            options,
            loaded,
            launch,
            control,
            sink,
        } = self;
        let bytes_max = options.memory_bytes_max;
        let asked = launch.spec.memory_bytes_max.unwrap_or(bytes_max);
        if asked > bytes_max {
            return Err(Failure::TooLarge {
                what: "the memory asked for".into(),
                bytes: asked,
                bytes_max,
            });
        }
        if loaded.shape.memory_bytes_min > asked {
            let bytes = loaded.shape.memory_bytes_min;
            return Err(Failure::TooLarge {
                what: "the module's memory".into(),
                bytes,
                bytes_max: asked,
            });
        }
        if !launch.is_known {
            check_room(&options, &loaded, &launch)?;
        }
        let limits = Limits::new(
            control.clone(),
            asked,
            options.table_elements_max,
            loaded.shape.save_bytes,
            options.budget.clone(),
        );
        let program = (&launch.spec, &options.variables);
        let mut context = Context::new(control, sink, program, launch.stdin, limits);
        let folders = Folders::new(launch.folders);
        context.files = Files::new(folders.map_err(|reason| Failure::BadRequest { reason })?);
        context.generation = launch.generation;
        context.stack_bytes = options.stack_bytes_max;
        context.held = Held::new(options.devices, launch.spec.grants.devices.clone());
        let control = context.control.clone();
        if launch.is_known {
            context.limits.let_in();
        }
        let mut instance = Instance::new(loaded, context, launch.snapshot)?;
        instance.context_mut().limits.hold();
        control.lock().begin_life(launch.begun);
        Ok(instance)
    }
}

/// Whether the machine has what the program needs at once, beside what the others have.
fn check_room(options: &RuntimeOptions, loaded: &Loaded, launch: &Launch) -> Result<(), Failure> {
    let saved = launch.snapshot.iter().flat_map(|snapshot| &snapshot.memories);
    let bytes = saved
        .map(|memory| memory.bytes)
        .sum::<u64>()
        .max(loaded.shape.memory_bytes_min);
    let bytes_max = options.budget.left_bytes();
    if bytes > bytes_max {
        return Err(Failure::TooLarge {
            what: "the program's memory, beside that of the others here,".into(),
            bytes,
            bytes_max,
        });
    }
    Ok(())
}

/// Until the program ended; `None` if it was discarded.
fn serve(mut instance: Instance) -> Result<Option<ProgramState>, Failure> {
    let control = instance.context().control.clone();
    if control.lock().log.announce() {
        instance.context().say_lines_ready();
    }
    let mut stopped_at = Instant::now();
    #[cfg(feature = "compiler")]
    let mut is_change_due = false;
    loop {
        match control.next() {
            Next::Vanish => return Ok(None),
            Next::Freeze => {
                instance.context_mut().release_devices();
                instance.context().say(ProcessEvent::Frozen);
            }
            Next::Capture { run_on, tag } => {
                let since = if run_on { stopped_at } else { Instant::now() };
                if !run_on {
                    instance.context_mut().release_devices();
                }
                let snapshot = Box::new(instance.capture()?);
                let stopped_us = since.elapsed().as_micros() as u64;
                instance.context().say(ProcessEvent::Captured {
                    tag,
                    snapshot,
                    stopped_us,
                });
            }
            #[cfg(feature = "compiler")]
            Next::Change => {
                (instance, is_change_due) = change(instance);
            }
            Next::Run => {
                // What it said before it came here counts from now on.
                instance.context().say_claims();
                instance.context_mut().drive_devices();
                let ran;
                (instance, ran) = instance.run()?;
                stopped_at = Instant::now();
                if let Ran::Ended(state) = ran {
                    return Ok(Some(state));
                }
                #[cfg(feature = "compiler")]
                if std::mem::take(&mut is_change_due) {
                    control.improve_again();
                }
            }
        }
    }
}

/// On to better code, and whether that is to be tried again.
#[cfg(feature = "compiler")]
fn change(instance: Instance) -> (Instance, bool) {
    let Some(better) = instance.better() else {
        return (instance, false);
    };
    let module = better.digest().short();
    let since = Instant::now();
    match instance.change(&better) {
        Ok(instance) => {
            let us = since.elapsed().as_micros() as u64;
            tracing::debug!(module, us, "a program changed over to optimised code");
            instance.context().say(ProcessEvent::Changed);
            (instance, false)
        }
        Err((instance, failure)) => {
            tracing::debug!(module, %failure, "a program stays on the baseline tier");
            (*instance, true)
        }
    }
}

fn sink_unless_discarded(control: &Control, sink: &super::context::Sink, event: ProcessEvent) {
    if !control.lock().is_discarded() {
        sink(event);
    }
}
