//! What a host must know to run, capture and resume a module that the compiler has rewritten.
//!
//! * Fresh: call [`START`]. When it returns, [`UNWINDING`] says whether the program has finished (0) or
//!   unwound for a capture (1). The same holds after [`RESUME`].
//! * Capture: from any thread, store 1 in each of the [`FLAG_BYTES`] bytes at [`FLAG_OFFSET`] of the save
//!   memory. After unwinding, the stack is the [`TOP_OFFSET`]-counted bytes from [`FRAMES_OFFSET`] on.
//! * Go on: set [`UNWINDING`] and the flag to 0 and call [`RESUME`], in the same instance, or in a new one
//!   that was given the same memories, globals and frames.
//! * A blocked imported function (see [`may_block`](crate::calls::may_block)) sets [`UNWINDING`] to 1 and
//!   returns anything, having had no effect; the program issues the same call again after resuming.
//! * [`RESUME`] is exported by the program's module (`Form::Joined` of the compiler) or by the *resume
//!   module* (`Form::Resuming`), which is needed only where a program goes on from frames. That one is
//!   instantiated in the store of the program's instance, at any time before; all that it imports are exports
//!   of that instance, by the same names. Frames are the same in both forms.

/// Version of frames and site numbers: state captured under one is nothing to another.
pub const ABI: u32 = 2;

/// Exported names.
pub const SAVE_MEMORY: &str = "wayfare:save";
pub const UNWINDING: &str = "wayfare:unwinding";
pub const START: &str = "wayfare:start";
/// In the resume module also the name of the function itself, for traces.
pub const RESUME: &str = "wayfare:resume";
/// Followed by a number from 0: every mutable global of the program.
pub const GLOBAL_PREFIX: &str = "wayfare:global:";
/// Followed by a number from 0: every linear memory of the program.
pub const MEMORY_PREFIX: &str = "wayfare:memory:";

/// Followed by a number from 0: every table that the program may change.
pub const TABLE_PREFIX: &str = "wayfare:table:";
/// The references that frames hold, [`REFERENCES_OFFSET`]-counted; only if some may.
pub const REFERENCES: &str = "wayfare:references";
/// Every function that a reference can lead to, always in the same order: a reference is captured as its
/// place in here. Only if references can be in the state of the program.
pub const FUNCTIONS: &str = "wayfare:functions";
/// Where the compiler was told that any export is entered: followed by an exported function's name, what
/// resumes a call of it.
pub const RESUME_PREFIX: &str = "wayfare:resume:";

/// The resume module's imports are from this module...
pub const PROGRAM: &str = "wayfare:program";
/// ...which exports them under names that begin with this.
pub const PART_PREFIX: &str = "wayfare:part:";

/// The site that a twin is on its way to, a `u32`; nothing to the host.
pub const RESUMING_OFFSET: u64 = 0;
/// Where the values of the twin begin that is called next, a `u32`: twins keep them behind the room for
/// frames, each behind those of its caller; nothing to the host.
pub const HOMES_OFFSET: u64 = 4;
/// How many bytes of frames there are, a `u32`.
pub const TOP_OFFSET: u64 = 8;
/// How many references frames hold, a `u32`.
pub const REFERENCES_OFFSET: u64 = 12;
/// The bytes that ask for a capture. There are many because each poll of a function has its own: an optimiser
/// that meets a second load of one address with no store between takes the first one's value, and a loop that
/// stores nothing would never see the flag.
pub const FLAG_OFFSET: u64 = 16;
pub const FLAG_BYTES: u64 = 4096;
pub const FRAMES_OFFSET: u64 = FLAG_OFFSET + FLAG_BYTES;
/// So many bytes of frames can be resumed: twice the default stack, and a saved frame is larger than the
/// machine's only if most of what it holds are constants. Behind them is what twins keep their values in.
pub const FRAMES_MAX: u64 = 32 << 20;
/// Fixed, so that the memory never moves: as much again for twins, of which only what is used is ever
/// touched.
pub const SAVE_PAGES: u64 = 2 * FRAMES_MAX / (64 << 10);
