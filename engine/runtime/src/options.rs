//! Bounds for the programs of an engine, and the settings of wasmtime that follow from them.

use std::sync::Arc;

use wasmtime::Config;
use wayfare_devices::Devices;

use super::address_space::AddressSpace;
use super::memory::Budget;
use super::variables::Variables;

/// Code checks addresses anyway.
const GUARD_BYTES_SCARCE: u64 = 64 << 10;
/// A memory that grows beyond what it has beside it is copied.
const GROWTH_BYTES_SCARCE: u64 = 1 << 20;

/// Bounds for all programs of an engine. The defaults fit a board with 512 MB.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Stack of a fresh program. One that is resumed has as much besides what its calls take.
    pub stack_bytes_max: usize,
    /// Linear memory of one program; its `ProgramSpec` may ask for less, not for more.
    pub memory_bytes_max: u64,
    pub table_elements_max: usize,
    /// Memory of all programs together.
    pub budget: Arc<Budget>,
    /// That programs can be granted.
    pub variables: Variables,
    /// Code that others compiled is for [`AddressSpace::Ample`] only.
    pub address_space: AddressSpace,
    /// What is compiled for the first time may start on the baseline tier: see
    /// [`super::Runtime::compile_first`].
    pub baseline: bool,
    pub devices: Arc<Devices>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            stack_bytes_max: 2 << 20,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            budget: Arc::default(),
            variables: Variables::default(),
            address_space: AddressSpace::probe(),
            baseline: true,
            devices: Arc::default(),
        }
    }
}

/// The settings that compiled code depends on.
pub(super) fn config() -> Config {
    #[cfg_attr(
        not(feature = "compiler"),
        expect(unused_mut, reason = "they are the compiler's")
    )]
    let mut config = Config::new();
    #[cfg(feature = "compiler")]
    super::settings::apply(&mut config);
    config
}

/// What linear memories reserve.
pub(super) fn reserve(config: &mut Config, options: &RuntimeOptions) {
    if options.address_space == AddressSpace::Scarce {
        config
            .memory_reservation(0)
            .memory_guard_size(GUARD_BYTES_SCARCE)
            .memory_reservation_for_growth(GROWTH_BYTES_SCARCE);
    }
}
