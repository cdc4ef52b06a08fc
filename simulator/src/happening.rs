//! Everything that can happen in a world, and how unkind it is.

use wayfare_protocol::ids::{BootId, PeerName, ProgramId};

use crate::acting::state::Acts;
use crate::broker::state::{Said, Told};
use crate::packet::Packet;
use crate::processes::job::Job;
use crate::restarts::state::Memory;

#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Deliver {
        to: PeerName,
        packet: Packet,
        /// How often the receiver had lost its disk when it was sent.
        wipes: u64,
    },
    /// Something that an engine's shell had under way in one of its lives.
    Job {
        engine: usize,
        boot: u64,
        job: Job,
    },
    Wake {
        engine: usize,
        boot: u64,
    },
    ClientActs,
    Crash {
        engine: usize,
    },
    Restart {
        engine: usize,
    },
    StrangerSpeaks,
    DiskFills {
        engine: usize,
    },
    DiskLost {
        engine: usize,
    },
    /// It tries again to store what it could not.
    StoreAgain {
        engine: usize,
        boot: u64,
    },
    Part {
        engine: usize,
        until: u64,
    },
    ProgramEnds {
        engine: usize,
    },
    /// A session's word reaches the broker, on one of its connections.
    Said {
        wire: usize,
        said: Said,
    },
    Told {
        wire: usize,
        told: Told,
    },
    SourcePublishes {
        program: ProgramId,
    },
    DispatcherStarts,
    DispatcherDies,
    /// Something that a dispatcher's process has under way.
    Dispatcher {
        process: u64,
        acts: Acts,
    },
    /// Another dispatcher takes the session from the one that acts, which does not notice for a while.
    AnotherActs,
    /// What a dispatcher that was succeeded decides before it notices.
    FormerDecides,
    /// The disk with the dispatcher's records is full for a while.
    StoreFills,
    /// The dispatcher's records are lost with their disk.
    StoreLost,
    /// A dispatcher tries again to store something.
    StoreTried {
        process: u64,
    },
    /// The broker writes what it has to its disk.
    BrokerSaves,
    BrokerRestarts {
        memory: Memory,
    },
    /// An engine reaches the broker again.
    Reconnects {
        engine: usize,
    },
    /// Another process connects under an engine's id.
    RivalConnects {
        engine: usize,
        times: u32,
    },
    /// The broker publishes an engine's last will.
    Will {
        engine: usize,
        boot: BootId,
    },
    /// The same of a connection of before, whatever the engine has said since.
    LateWill {
        engine: usize,
    },
    PeopleAsk {
        first: bool,
    },
    SomeTrap,
}

/// How unkind the world is, per mille.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) very_late: u64,
    pub(crate) damaged: u64,
    pub(crate) crash_per_effect: u64,
    pub(crate) crash_at_verdicts: u64,
    pub(crate) work_fails: u64,
}
