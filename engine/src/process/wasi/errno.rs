//! Preview 1's error numbers, as far as we return them.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct Errno(pub(in crate::process) i32);

impl Errno {
    pub(in crate::process) const ACCES: Self = Self(2);
    pub(in crate::process) const AGAIN: Self = Self(6);
    pub(in crate::process) const BADF: Self = Self(8);
    pub(in crate::process) const FAULT: Self = Self(21);
    pub(in crate::process) const INVAL: Self = Self(28);
    pub(in crate::process) const IO: Self = Self(29);
    pub(in crate::process) const MSGSIZE: Self = Self(35);
    pub(in crate::process) const NOBUFS: Self = Self(42);
    pub(in crate::process) const NOSYS: Self = Self(52);
    pub(in crate::process) const NOTDIR: Self = Self(54);
    pub(in crate::process) const NOTSOCK: Self = Self(57);
    pub(in crate::process) const NOTSUP: Self = Self(58);
    pub(in crate::process) const OVERFLOW: Self = Self(61);
    pub(in crate::process) const SPIPE: Self = Self(70);
    pub(in crate::process) const TIMEDOUT: Self = Self(73);
    pub(in crate::process) const NOTCAPABLE: Self = Self(76);
}

pub(in crate::process) const SUCCESS: i32 = 0;
