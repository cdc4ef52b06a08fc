//! The tags of all messages, in one list: none is ever given to anything else.

use crate::wire::Message;

macro_rules! tags {
    ($($message:ty => $tag:literal,)*) => {
        $(impl Message for $message {
            const TYPE: &'static str = $tag;
        })*
    };
}

tags! {
    crate::command::Command => "command",
    crate::command::GivenCommand => "command",
    crate::command::ReportRequest => "report-request",
    crate::event::Event => "event",
    crate::status::EngineStatus => "engine-status",
    crate::status::ProgramStatus => "program-status",
    crate::address::Announcement => "announcement",
    crate::log::LogBatch => "log-batch",
    crate::values::Changed => "value-changed",
    crate::dispatcher::Lease => "lease",
    crate::dispatcher::Request => "request",
    crate::trust::roster::Roster => "roster",
    crate::trust::card::Card => "card",
}
