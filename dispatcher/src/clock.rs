//! Time as the acting dispatcher's core is told it.

use std::sync::LazyLock;
use std::time::Instant;

use wayfare_client::documents::now_ms;
use wayfare_dispatcher_core::apps::Now;

/// By clocks of this process, the one of which is never set.
pub(crate) fn now() -> Now {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Now {
        ms: u64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(u64::MAX),
        wall_ms: now_ms(),
    }
}
