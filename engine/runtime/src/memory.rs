//! How much memory programs have: each within its own limit, and all together within what the machine can
//! give. What a program asks for beyond either it does not get, as when a machine has no more: so none of
//! them makes the system end the engine, with all the others.
//!
//! Memories count, and tables with what wasmtime keeps for each of their elements. What a program has had
//! once is kept for it while it lives here, so that being captured, which makes its instance anew, never
//! costs it anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;
#[cfg(feature = "compiler")]
use wayfare_protocol::error::Failure;

use super::control::Control;

/// What an element of a table takes, whatever is in it.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// So much of its tables is not counted against a program's own limit: as much as one table may have.
const TABLES_FREE_BYTES: u64 = 100_000 * TABLE_ELEMENT_BYTES;

/// Memory of all programs of an engine together.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    used_bytes: AtomicU64,
}

impl Default for Budget {
    /// Without an end.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Budget {
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            used_bytes: AtomicU64::new(0),
        }
    }

    pub fn left_bytes(&self) -> u64 {
        self.bytes_max
            .saturating_sub(self.used_bytes.load(Ordering::Relaxed))
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self
            .used_bytes
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.bytes_max)
            });
        taken.is_ok()
    }

    fn take_in_any_case(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one program may use, and how much it does use.
pub(super) struct Limits {
    /// Of all its memories together, the save memory not counted, and of its tables.
    pub(super) memory_bytes_max: u64,
    table_elements_max: usize,
    control: Arc<Control>,
    save_bytes: u64,
    /// Memories, with the save memory.
    memory_bytes: u64,
    table_bytes: u64,
    budget: Arc<Budget>,
    /// Of the budget.
    taken_bytes: u64,
    /// It was here before the engine's start, or stands for such a program: it gets what it had.
    is_known: bool,
    shortage_said: bool,
}

impl Limits {
    pub(super) fn new(
        control: Arc<Control>,
        memory_bytes_max: u64,
        table_elements_max: usize,
        save_bytes: u64,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            memory_bytes_max,
            table_elements_max,
            control,
            save_bytes,
            memory_bytes: 0,
            table_bytes: 0,
            budget,
            taken_bytes: 0,
            is_known: false,
            shortage_said: false,
        }
    }

    /// Until [`Limits::hold`]: a program that is here already is not refused what it had.
    pub(super) fn let_in(&mut self) {
        self.is_known = true;
    }

    pub(super) fn hold(&mut self) {
        self.is_known = false;
    }

    /// The instance is gone; another will be made.
    pub(super) fn reset(&mut self) {
        self.memory_bytes = 0;
        self.table_bytes = 0;
    }

    /// It goes on in an instance that was made for nobody.
    pub(super) fn succeed(&mut self, idle: &Self) {
        self.memory_bytes = idle.memory_bytes;
        self.table_bytes = idle.table_bytes;
        let total = self.memory_bytes + self.table_bytes;
        self.budget
            .take_in_any_case(total.saturating_sub(self.taken_bytes));
        self.taken_bytes = self.taken_bytes.max(total);
    }

    /// Whether the machine has room for copies of so many bytes, beside what programs have.
    #[cfg(feature = "compiler")]
    pub(super) fn check_copies(&self, bytes: u64, copies: u64) -> Result<(), Failure> {
        let (bytes, bytes_max) = (bytes.saturating_mul(copies), self.budget.left_bytes());
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(Failure::TooLarge {
            what: "copies of the program's memory, beside that of the others here,".into(),
            bytes,
            bytes_max,
        })
    }

    /// Whether it may have so much in all.
    fn admits(&mut self, memory_bytes: u64, table_bytes: u64) -> bool {
        let total = memory_bytes.saturating_add(table_bytes);
        let counted = memory_bytes.saturating_add(table_bytes.saturating_sub(TABLES_FREE_BYTES));
        if !self.is_known && counted > self.memory_bytes_max.saturating_add(self.save_bytes) {
            return false;
        }
        let more = total.saturating_sub(self.taken_bytes);
        if self.is_known {
            self.budget.take_in_any_case(more);
        } else if more > 0 && !self.budget.take(more) {
            if !std::mem::replace(&mut self.shortage_said, true) {
                let all = self.budget.bytes_max >> 20;
                self.control.tell(&format!(
                    "wayfare: no more memory: all programs of this engine may have {all} MiB together (--programs-memory)"
                ));
            }
            return false;
        }
        self.taken_bytes = self.taken_bytes.max(total);
        (self.memory_bytes, self.table_bytes) = (memory_bytes, table_bytes);
        self.control
            .set_memory_bytes(counted.saturating_sub(self.save_bytes));
        true
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.budget.give_back(self.taken_bytes);
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = (self.memory_bytes.saturating_sub(current as u64)).saturating_add(desired as u64);
        Ok(max.is_none_or(|max| desired <= max) && self.admits(bytes, self.table_bytes))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        let all = (self.table_bytes.saturating_sub(bytes(current))).saturating_add(bytes(desired));
        Ok((self.is_known || desired <= self.table_elements_max)
            && max.is_none_or(|max| desired <= max)
            && self.admits(self.memory_bytes, all))
    }
}

#[cfg(test)]
mod tests {
    use wayfare_mail::Mail;

    use super::*;

    const MIB: usize = 1 << 20;

    fn limits(budget: &Arc<Budget>, memory_bytes_max: u64) -> Limits {
        let control = Arc::new(Control::new(true, Mail::nobody()));
        Limits::new(control, memory_bytes_max, 100_000, 0, budget.clone())
    }

    #[test]
    fn programs_within_their_limits_do_not_take_more_than_there_is_together() {
        let budget = Arc::new(Budget::new(10 << 20));
        let (mut one, mut two) = (limits(&budget, 8 << 20), limits(&budget, 8 << 20));
        assert!(one.memory_growing(0, 7 * MIB, None).unwrap());
        assert!(!two.memory_growing(0, 4 * MIB, None).unwrap());
        assert!(two.memory_growing(0, 3 * MIB, None).unwrap());
        assert!(
            !one.memory_growing(7 * MIB, 8 * MIB, None).unwrap(),
            "though its own limit allows it"
        );
        drop(two);
        assert!(one.memory_growing(7 * MIB, 8 * MIB, None).unwrap());
        assert!(!one.memory_growing(8 * MIB, 9 * MIB, None).unwrap());
        assert_eq!(budget.left_bytes(), 2 << 20);
    }

    #[test]
    fn elements_of_all_tables_count_as_memory() {
        let budget = Arc::new(Budget::new(4 << 20));
        let mut one = limits(&budget, 2 << 20);
        let tables = (0..10)
            .filter(|_| one.table_growing(0, 100_000, None).unwrap())
            .count();
        assert_eq!(tables, 3, "800,000 bytes each: of 2 MiB, and one for nothing");
        assert!(!one.memory_growing(0, MIB, None).unwrap());
        let mut two = limits(&budget, 2 << 20);
        let tables = (0..10)
            .filter(|_| two.table_growing(0, 100_000, None).unwrap())
            .count();
        assert_eq!(tables, 2, "of what the first has left");
    }

    #[test]
    fn what_was_here_is_let_in_and_an_instance_made_anew_costs_nothing() {
        let budget = Arc::new(Budget::new(4 << 20));
        let mut one = limits(&budget, 8 << 20);
        one.let_in();
        assert!(one.memory_growing(0, 6 * MIB, None).unwrap());
        let all = one.table_elements_max;
        assert!(one.table_growing(0, all + 1, None).unwrap(), "nor a table");
        one.hold();
        assert!(!one.table_growing(0, all + 1, None).unwrap());
        assert!(!one.memory_growing(6 * MIB, 7 * MIB, None).unwrap());
        one.reset();
        assert!(one.memory_growing(0, 6 * MIB, None).unwrap());
        let idle = limits(&Arc::default(), 8 << 20);
        let mut two = limits(&budget, 8 << 20);
        two.succeed(&idle);
        drop((one, two));
        assert_eq!(budget.left_bytes(), 4 << 20);
    }
}
