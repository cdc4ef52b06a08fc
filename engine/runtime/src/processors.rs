//! Compiling on all processors: wasmtime compiles functions side by side, on the threads of the pool that it
//! is called from.
//!
//! What always holds: these threads let programs go first, and live no longer than the work.

use super::raw;

/// More would be slowed down by what is not done side by side, and each takes memory.
const THREADS_MAX: usize = 16;

/// Does something that compiles.
pub(super) fn on_all<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|_| "compiling".into())
            .start_handler(|_| raw::step_back())
            .build()
    };
    match pool(threads.min(THREADS_MAX)).or_else(|_| pool(1)) {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::warn!(%error, "compiles without threads of its own");
            work()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compiles_does_so_on_other_threads_and_its_panic_comes_back() {
        let here = std::thread::current().id();
        let there = on_all(|| (std::thread::current().id(), rayon::current_num_threads()));
        assert_ne!(there.0, here);
        assert!(there.1 <= THREADS_MAX);
        assert!(std::panic::catch_unwind(|| on_all(|| panic!("of the compiler"))).is_err());
    }
}
