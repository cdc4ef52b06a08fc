//! A JavaScript program's runtime: QuickJS-ng, what it needs of the host, and the runtime's own JavaScript in `js/`.
//!
//! Reading order: [`host`] (the calls that JavaScript gets), [`files`] (those on files), [`hashes`] and [`urls`],
//! [`sources`] (the JavaScript that is compiled in), `js/bootstrap.js` (what a program finds, and how it is begun),
//! `js/internal/loop.js` (how it waits).
//!
//! Always: everything that a program waits for is waited for in one call, `poll` of [`host`], so that a move finds the
//! program in it or in the middle of JavaScript, and nowhere else.

mod files;
mod hashes;
mod host;
mod modules;
mod sources;
mod urls;

use std::process::exit;

use rquickjs::{CatchResultExt, Context, Ctx, Function, Object, Runtime};

/// Bytes of the C stack that JavaScript may use. What a host needs for a call is three to four times as much, so with
/// the host's usual 1 MiB this ends endless recursion of functions as a RangeError, before the host ends the program.
/// QuickJS's own recursion through data, such as JSON nested a thousand times, needs more of the host.
const STACK_BYTES_MAX: usize = 240 * 1024;

fn main() {
    let Ok(runtime) = Runtime::new() else {
        fail("no memory for JavaScript");
    };
    runtime.set_max_stack_size(STACK_BYTES_MAX);
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

fn fail(why: &str) -> ! {
    eprintln!("javascript: {why}");
    exit(1);
}
