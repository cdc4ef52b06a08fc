//! Programs that are captured: how soon they stand still, how large they are then, and how fast they go on.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::machine::{Code, End, Flag, Machine, Process};
use crate::options::Options;
use crate::resident::resident_bytes;
use crate::state::{Image, State};
use crate::table::{Table, geometric_mean, median, percentile};
use crate::workshop::Workshop;

/// How far a program is when it is moved: early, so that the time up to there, which is another in every run,
/// counts little.
const MOVED_AT: f64 = 0.05;
/// One capture in so many goes on in a new instance; the others in the same.
const MOVE_EVERY: usize = 25;
/// Between captures.
const PAUSE_US_MIN: u64 = 100;
const PAUSE_US_MAX: u64 = 3000;

/// The rest of a run after a move, over the same part of a run that never moved.
pub(crate) fn moved(options: &Options, workshop: &Workshop) {
    let title = format!(
        "After a move at {:.0} % of the run, {}, {} rounds",
        MOVED_AT * 100.0,
        workshop.target.name(),
        options.rounds
    );
    let work = options.per_mille(workshop.target);
    let machine = workshop.ours();
    let mut table = Table::new(
        &title,
        &[
            "program",
            "unmoved ms",
            "rest / same part unmoved",
            "smallest",
            "largest",
            "fastest / fastest",
        ],
    );
    let mut medians = Vec::new();
    for piece in &workshop.pieces {
        let code = piece.ours();
        let image = Image::of(machine.start(code, 0));
        let (mut whole, mut ratios) = (Vec::new(), Vec::new());
        let mut fastest = f64::INFINITY;
        for _ in 0..options.rounds {
            let mut unmoved = machine.start(code, work);
            unmoved.run();
            let mut process = machine.start(code, work);
            if run_until(&mut process, unmoved.busy.mul_f64(MOVED_AT)) == End::Finished {
                continue;
            }
            let before = process.busy;
            let mut process = arrive(process, machine, code, &image);
            process.resume();
            assert_eq!(
                process.stdout(),
                unmoved.stdout(),
                "{}: another result",
                piece.name
            );
            whole.push(unmoved.busy.as_secs_f64() * 1e3);
            let same_part = unmoved.busy.as_secs_f64() - before.as_secs_f64();
            ratios.push(process.busy.as_secs_f64() / same_part);
            fastest = fastest.min((before + process.busy).as_secs_f64() * 1e3);
        }
        if ratios.is_empty() {
            eprintln!("{}: ended before it could be moved", piece.name);
            continue;
        }
        medians.push(median(&ratios));
        table.row(vec![
            piece.name.to_owned(),
            format!("{:.0}", median(&whole)),
            format!("{:.3}", median(&ratios)),
            format!("{:.3}", percentile(&ratios, 0.0)),
            format!("{:.3}", percentile(&ratios, 100.0)),
            format!("{:.3}", fastest / percentile(&whole, 0.0)),
        ]);
    }
    table.row(vec![
        "**geometric mean**".to_owned(),
        String::new(),
        format!("**{:.3}**", geometric_mean(&medians)),
        String::new(),
        String::new(),
        String::new(),
    ]);
    table.print();
}

fn run_until(process: &mut Process, after: Duration) -> End {
    let flag = process.flag();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(after);
            flag.set(1);
        });
        process.run()
    })
}

/// In a new instance; nothing of the old one is left but what was captured.
fn arrive(mut process: Process, machine: &Machine, code: &Code, image: &Image) -> Process {
    let state = State::capture(&mut process, image);
    let mut arrived = state.restore(machine, code);
    let flag = arrived.flag();
    arrived.store.data_mut().clone_from(process.store.data());
    arrived.store.data_mut().flag = Some(flag);
    arrived
}

/// What was seen at the captures of one program.
#[derive(Default)]
struct Seen {
    latency_us: Vec<f64>,
    frames: Vec<f64>,
    touched: Vec<f64>,
    snapshot: Vec<f64>,
    capture_us: Vec<f64>,
    restore_us: Vec<f64>,
}

/// Requests from another thread at random times, while the program computes.
pub(crate) fn freezing(options: &Options, workshop: &Workshop) {
    let title = format!(
        "Captures while computing, {}, {} requests each: request to frozen in µs, sizes, capture and restore in µs \
         without compression and transport",
        workshop.target.name(),
        options.requests
    );
    let mut table = Table::new(
        &title,
        &[
            "program",
            "p50",
            "p99",
            "longest",
            "frames p50",
            "frames max",
            "touched kB",
            "snapshot kB",
            "snapshot / touched",
            "capture",
            "restore",
            "both, per touched MB",
        ],
    );
    for piece in &workshop.pieces {
        let work = options.per_mille(workshop.target);
        let seen = freeze(options.requests, work, workshop.ours(), piece.ours());
        let touched = median(&seen.touched);
        let both = median(&seen.capture_us) + median(&seen.restore_us);
        table.row(vec![
            piece.name.to_owned(),
            format!("{:.0}", percentile(&seen.latency_us, 50.0)),
            format!("{:.0}", percentile(&seen.latency_us, 99.0)),
            format!("{:.0}", percentile(&seen.latency_us, 100.0)),
            format!("{:.0}", percentile(&seen.frames, 50.0)),
            format!("{:.0}", percentile(&seen.frames, 100.0)),
            format!("{:.0}", touched / 1e3),
            format!("{:.0}", median(&seen.snapshot) / 1e3),
            format!("{:.2}", median(&seen.snapshot) / touched),
            format!("{:.0}", median(&seen.capture_us)),
            format!("{:.0}", median(&seen.restore_us)),
            format!("{:.0}", both / (touched / 1e6)),
        ]);
    }
    table.print();
}

fn freeze(requests: usize, work: u32, machine: &Machine, code: &Code) -> Seen {
    let image = Image::of(machine.start(code, 0));
    let mut seen = Seen::default();
    let mut random = 42;
    std::thread::scope(|scope| {
        let (ask, asked) = mpsc::channel::<(Flag, Duration)>();
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            for (flag, pause) in asked {
                std::thread::sleep(pause);
                let now = Instant::now();
                flag.set(1);
                if tell.send(now).is_err() {
                    return;
                }
            }
        });
        let mut process: Option<Process> = None;
        while seen.latency_us.len() < requests {
            let going_on = process.is_some();
            let mut running = process.take().unwrap_or_else(|| machine.start(code, work));
            // The flag of a captured program is still set: only the next request may stop it.
            running.flag().set(0);
            ask.send((running.flag(), pause(&mut random)))
                .expect("the other thread waits for this");
            let end = if going_on { running.resume() } else { running.run() };
            let frozen = Instant::now();
            let requested = told.recv().expect("every request is answered");
            if end == End::Finished {
                continue;
            }
            seen.latency_us.push((frozen - requested).as_secs_f64() * 1e6);
            seen.frames.push(running.frames().len() as f64);
            process = Some(if seen.latency_us.len() % MOVE_EVERY.min(requests) == 0 {
                seen.look(running, machine, code, &image)
            } else {
                running
            });
        }
    });
    seen
}

/// Uniform (Marsaglia's xorshift).
fn pause(random: &mut u64) -> Duration {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    Duration::from_micros(PAUSE_US_MIN + *random % (PAUSE_US_MAX - PAUSE_US_MIN))
}

impl Seen {
    /// Moves the program to a new instance, measuring.
    fn look(&mut self, mut process: Process, machine: &Machine, code: &Code, image: &Image) -> Process {
        let resident = resident_bytes(process.memory_addresses());
        let begin = Instant::now();
        let state = State::capture(&mut process, image);
        self.capture_us.push(begin.elapsed().as_secs_f64() * 1e6);
        self.snapshot.push(state.bytes() as f64);
        self.touched
            .push(resident.unwrap_or(process.memory_addresses().len()) as f64);
        let begin = Instant::now();
        let mut arrived = state.restore(machine, code);
        self.restore_us.push(begin.elapsed().as_secs_f64() * 1e6);
        let flag = arrived.flag();
        arrived.store.data_mut().clone_from(process.store.data());
        arrived.store.data_mut().flag = Some(flag);
        arrived
    }
}
