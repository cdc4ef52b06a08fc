//! Preview 1's error numbers, as far as we return them.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct Errno(pub(in crate::process) i32);

impl Errno {
    pub(in crate::process) const ACCES: Self = Self(2);
    pub(in crate::process) const AGAIN: Self = Self(6);
    pub(in crate::process) const BADF: Self = Self(8);
    pub(in crate::process) const BUSY: Self = Self(10);
    pub(in crate::process) const EXIST: Self = Self(20);
    pub(in crate::process) const FAULT: Self = Self(21);
    pub(in crate::process) const FBIG: Self = Self(22);
    pub(in crate::process) const ILSEQ: Self = Self(25);
    pub(in crate::process) const INVAL: Self = Self(28);
    pub(in crate::process) const IO: Self = Self(29);
    pub(in crate::process) const ISDIR: Self = Self(31);
    pub(in crate::process) const MFILE: Self = Self(33);
    pub(in crate::process) const MSGSIZE: Self = Self(35);
    pub(in crate::process) const NAMETOOLONG: Self = Self(37);
    pub(in crate::process) const NOBUFS: Self = Self(42);
    pub(in crate::process) const NODEV: Self = Self(43);
    pub(in crate::process) const NOENT: Self = Self(44);
    pub(in crate::process) const NOSPC: Self = Self(51);
    pub(in crate::process) const NOSYS: Self = Self(52);
    pub(in crate::process) const NOTDIR: Self = Self(54);
    pub(in crate::process) const NOTEMPTY: Self = Self(55);
    pub(in crate::process) const NOTSOCK: Self = Self(57);
    pub(in crate::process) const NOTSUP: Self = Self(58);
    pub(in crate::process) const NOTTY: Self = Self(59);
    pub(in crate::process) const OVERFLOW: Self = Self(61);
    pub(in crate::process) const SPIPE: Self = Self(70);
    pub(in crate::process) const STALE: Self = Self(72);
    pub(in crate::process) const TIMEDOUT: Self = Self(73);
    pub(in crate::process) const XDEV: Self = Self(75);
    pub(in crate::process) const NOTCAPABLE: Self = Self(76);
}

pub(in crate::process) const SUCCESS: i32 = 0;
