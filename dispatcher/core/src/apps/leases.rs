//! Until when holders of applications hold them, unless they are heard of again: by application and holder,
//! and stored nowhere.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(super) struct Leases(BTreeMap<String, BTreeMap<String, u64>>);

impl Leases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn begin(&mut self, application: &str, holder: String, until_ms: u64) {
        let leases = self.0.entry(application.to_owned()).or_default();
        leases.insert(holder, until_ms);
    }

    pub(super) fn until_ms(&self, application: &str, holder: &str) -> Option<u64> {
        self.0.get(application)?.get(holder).copied()
    }

    pub(super) fn end(&mut self, application: &str, holder: &str) {
        if let Some(leases) = self.0.get_mut(application) {
            leases.remove(holder);
            if leases.is_empty() {
                self.0.remove(application);
            }
        }
    }

    /// All of an application that is no more.
    pub(super) fn end_all_of(&mut self, application: &str) {
        self.0.remove(application);
    }

    /// They begin anew when they are looked at next.
    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }

    pub(super) fn put_off(&mut self, by_ms: u64) {
        for until_ms in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            *until_ms = until_ms.saturating_add(by_ms);
        }
    }
}
