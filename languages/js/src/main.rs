//! A JavaScript program's runtime: QuickJS-ng, what it needs of the host, and the runtime's own JavaScript in `js/`.
//!
//! Reading order: [`reserve`] (memory for errors), [`host`] (the calls that JavaScript gets), [`files`] (those on files), [`hashes`] and [`urls`],
//! [`sources`] (the JavaScript that is compiled in), `js/bootstrap.js` (what a program finds, and how it is begun),
//! `js/internal/loop.js` (how it waits).
//!
//! Always: everything that a program waits for is waited for in one call, `poll` of [`host`], so that a move finds the
//! program in it or in the middle of JavaScript, and nowhere else.

mod files;
mod hashes;
mod host;
mod modules;
mod reserve;
mod sources;
mod urls;

use std::process::exit;

use rquickjs::{CatchResultExt, Context, Ctx, Function, Object, Runtime};

/// How many bytes of the host's call stack go with one of the C stack, which is all that QuickJS can measure. Calls of
/// JavaScript need 3 to 5; the parser, in which brackets nest without much of a C stack, up to 16. Too deep a recursion is
/// to end with a RangeError, before the host ends the program.
const HOST_BYTES_PER_BYTE: usize = 20;
/// Bytes of the C stack that JavaScript may use at most: `languages/build` links a quarter more.
const STACK_BYTES_MAX: usize = 1 << 20;
/// With less, programs that recurse at all would not get far.
const STACK_BYTES_MIN: usize = 128 << 10;
/// Where engines, of earlier releases, do not say how large their call stacks are.
const STACK_BYTES_UNTOLD: usize = 240 << 10;

#[global_allocator]
static MEMORY: reserve::Reserve = reserve::Reserve::new();

fn main() {
    MEMORY.fill();
    let Ok(runtime) = Runtime::new() else {
        fail("no memory for JavaScript");
    };
    runtime.set_max_stack_size(stack_bytes());
    let hooks = modules::listen(&runtime);
    let Ok(context) = Context::full(&runtime) else {
        fail("no memory for JavaScript");
    };
    context.with(|ctx| {
        if let Err(error) = begin(&ctx, hooks).catch(&ctx) {
            fail(&format!("{error}"));
        }
    });
    // `js/loop.js` ends the process. This is for when it could not.
    exit(1);
}

/// Runs the program to its end.
fn begin(ctx: &Ctx<'_>, hooks: modules::Hooks) -> rquickjs::Result<()> {
    let native = Object::new(ctx.clone())?;
    host::offer(ctx, &native)?;
    files::offer(ctx, &native)?;
    hashes::offer(ctx, &native)?;
    urls::offer(ctx, &native)?;
    modules::offer(ctx, &native, hooks)?;
    let bootstrap: Function<'_> = modules::compile(ctx, sources::BOOTSTRAP, "wayfare:bootstrap")?;
    bootstrap.call((native,))
}

/// How much of the C stack goes with the engine's call stack.
fn stack_bytes() -> usize {
    let me = std::fs::read_to_string("/wayfare/me").unwrap_or_default();
    // A quote in a text has a backslash in front: no name or grant looks like this.
    let told = me.split_once("\"stack_bytes\":").map(|(_, rest)| rest);
    let digits = told.and_then(|rest| rest.split(|one: char| !one.is_ascii_digit()).next());
    match digits.and_then(|digits| digits.parse::<usize>().ok()) {
        Some(bytes) => (bytes / HOST_BYTES_PER_BYTE).clamp(STACK_BYTES_MIN, STACK_BYTES_MAX),
        None => STACK_BYTES_UNTOLD,
    }
}

fn fail(why: &str) -> ! {
    eprintln!("javascript: {why}");
    exit(1);
}
