//! Who holds an application: whoever wants it to be there for as long as that needs it.
//!
//! ```text
//!   acquire: absent --> applied, and held      the same --> held by one more      another --> refused, naming what differs
//!   renew:   held by that one --> for [`LEASE_MS`] more      else --> refused, and nothing begins
//!   let go, or not renewed for [`LEASE_MS`] --> held by one less --> the last one of one that was begun so --> removed
//! ```
//! What always holds: a holder is stored before it is answered, and its lease begins anew with whoever acts,
//! and with the end of a hold on the fleet. A lease is over when everything has been read that was sent
//! before its end, and lasts longer by any time for which nothing was read: so none is lost because nobody
//! was there to take its word, or was behind. What people apply is theirs from then on, and ends with no
//! holder.

use serde_json::{Value, json};
use wayfare_fleet::app::AppSpec;
use wayfare_fleet::app::ask::{HOLDERS_MAX, Lasts};
use wayfare_protocol::error::Failure;

use super::asked::bad;
use super::pages::lines;
use super::state::{App, Holder, Standing};
use super::{Core, words};

/// A lease that is not renewed for so long is over.
const LEASE_MS: u64 = 30_000;
/// While there are leases, it is known every so often how far we have read,
const READ_MS: u64 = 2_000;
/// and nobody was silent in a time longer than this for which it was not. Shorter ones leave room in a lease,
/// which is renewed after a third of it, for a renewal that is lost.
const UNREAD_MS: u64 = 5_000;
/// Bytes of a holder's name.
const HOLDER_BYTES_MAX: usize = 128;

impl Core {
    pub(super) fn acquire(
        &mut self,
        mut spec: AppSpec,
        holder: String,
        lasts: Lasts,
    ) -> Result<Value, Failure> {
        spec.check()?;
        self.keep_restarts(&mut spec);
        if !is_holder(&holder) {
            return Err(bad(format!(
                "a holder's name has 1 to {HOLDER_BYTES_MAX} bytes, without spaces and quotes"
            )));
        }
        let name = spec.name.clone();
        let known = self.state.apps.get(&name);
        if known.is_some_and(|app| app.standing == Standing::Removing) {
            return Err(Failure::Unknown {
                error: "being-removed".to_owned(),
                reason: format!("application '{name}' is being removed: wait until it is gone"),
            });
        }
        if let Some(app) = known
            && let Some(running) = app.spec().filter(|running| **running != spec)
        {
            let differs = lines(words::changes(Some(running), &spec)).join("; ");
            return Err(Failure::Unknown {
                error: "another-spec".to_owned(),
                reason: format!("application '{name}' is there, and is made in another way: {differs}"),
            });
        }
        if let Some(app) = known
            && !app.holders.contains_key(&holder)
            && app.holders.len() >= HOLDERS_MAX
        {
            return Err(bad(format!("{HOLDERS_MAX} hold application '{name}' already")));
        }
        let is_absent = known.is_none();
        self.apply(spec, None)?;
        if let Some(app) = self.state.apps.get_mut(&name) {
            app.ends_with_holders |= is_absent;
            let before = app.holders.insert(holder.clone(), Holder { lasts });
            if before != Some(Holder { lasts }) || is_absent {
                self.store_app_at_once(&name);
            }
            if before.is_none() || is_absent {
                self.tell_app("acquired", &name, format!("{holder} holds application {name}"));
            }
        }
        self.is_heard_of(&name, holder, lasts);
        Ok(self.holding(&name, is_absent))
    }

    /// Nothing is stored for it, or decided: it is only heard of.
    pub(super) fn renew(&mut self, name: &str, holder: String) -> Result<Value, Failure> {
        let app = self.state.apps.get(name);
        let Some(Holder { lasts }) = app.and_then(|app| app.holders.get(&holder)).copied() else {
            return Err(Failure::Unknown {
                error: "not-held".to_owned(),
                reason: format!(
                    "{holder} does not hold application '{name}' any more: it was removed, or nothing was heard of {holder} \
                     for {} s. Hold it again",
                    LEASE_MS / 1_000
                ),
            });
        };
        self.is_heard_of(name, holder, lasts);
        Ok(self.holding(name, false))
    }

    fn is_heard_of(&mut self, name: &str, holder: String, lasts: Lasts) {
        let until_ms = self.now.ms.saturating_add(LEASE_MS);
        match lasts {
            Lasts::Lease => self.leases.begin(name, holder, until_ms),
            Lasts::UntilLetGo => self.leases.end(name, &holder),
        }
    }

    fn holding(&self, name: &str, begun: bool) -> Value {
        let holders = self.holders_of(name);
        json!({ "application": name, "begun": begun, "holders": holders, "lease_ms": LEASE_MS })
    }

    /// One that does not hold it has let go of it already.
    pub(super) fn let_go(&mut self, name: &str, holder: &str) -> Result<Value, Failure> {
        let changed = self.leaves(name, holder, "has let go of");
        let holders = self.holders_of(name);
        let ends = self
            .state
            .apps
            .get(name)
            .is_none_or(|app| app.standing == Standing::Removing);
        Ok(json!({ "application": name, "changed": changed, "holders": holders, "ends": ends }))
    }

    fn leaves(&mut self, name: &str, holder: &str, how: &str) -> bool {
        self.leases.end(name, holder);
        let Some(app) = self.state.apps.get_mut(name) else {
            return false;
        };
        if app.holders.remove(holder).is_none() {
            return false;
        }
        let is_last = app.ends_with_holders && app.holders.is_empty() && app.standing != Standing::Removing;
        self.store_app(name);
        self.tell_app("let-go", name, format!("{holder} {how} application {name}"));
        if is_last {
            // Of one that is there, and is not being removed, nothing is refused.
            let _ = self.set_standing(name, Standing::Removing);
            self.plan_at_ms = 0;
        }
        true
    }

    /// Whether it is to be known how far we have read, because that is what leases end by.
    pub(super) fn awaits_holders(&self) -> bool {
        !self.leases.is_empty() && self.now.ms.saturating_sub(self.read_ms) >= READ_MS
    }

    /// It was not known for so long how far we have read. What was sent then may have come to nothing.
    pub(super) fn put_off_leases(&mut self, by_ms: u64) {
        if by_ms > UNREAD_MS {
            self.leases.put_off(by_ms);
        }
    }

    /// Leases that were not renewed end. One that is not known has begun with this dispatcher.
    pub(super) fn end_leases(&mut self) {
        let (now_ms, read_ms) = (self.now.ms, self.read_ms);
        let mut over = Vec::new();
        for (name, app) in &self.state.apps {
            let leased = app.holders.iter().filter(|(_, one)| one.lasts == Lasts::Lease);
            for (holder, _) in leased {
                match self.leases.until_ms(name, holder) {
                    Some(until_ms) if until_ms <= read_ms => over.push((name.clone(), holder.clone())),
                    Some(_) => {}
                    None => {
                        let until_ms = now_ms.saturating_add(LEASE_MS);
                        self.leases.begin(name, holder.clone(), until_ms);
                    }
                }
            }
        }
        for (name, holder) in over {
            self.leaves(
                &name,
                &holder,
                "was not heard of for 30 s, and does not hold any more",
            );
        }
    }

    pub(super) fn holders_of(&self, name: &str) -> Vec<String> {
        let app = self.state.apps.get(name);
        app.map_or_else(Vec::new, |app| app.holders.keys().cloned().collect())
    }
}

impl App {
    /// By how many, if by anybody.
    pub(super) fn held(&self) -> Option<u32> {
        u32::try_from(self.holders.len()).ok().filter(|count| *count > 0)
    }

    /// People want it as it is now, whoever holds it.
    pub(super) fn is_peoples(&mut self) -> bool {
        std::mem::replace(&mut self.ends_with_holders, false)
    }
}

fn is_holder(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= HOLDER_BYTES_MAX
        && !name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\'))
}
