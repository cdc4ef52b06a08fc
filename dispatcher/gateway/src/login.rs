//! A user and a password, by which people get the token; and how often who does not know them may try.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use wayfare_protocol::ids::Digest;

/// Shorter ones can be guessed, ten a minute.
const PASSWORD_CHARACTERS_MIN: usize = 10;
/// What is presented may have.
const TEXT_BYTES_MAX: usize = 1024;
/// Wrong tries of one address within [`WINDOW`].
const WRONG_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses of which wrong tries are known. Who comes when there are more waits until the window of another
/// is over.
const ADDRESSES_MAX: usize = 1024;

/// What is presented is compared by its digest, in a time that says nothing of where they differ.
#[derive(Clone)]
pub struct Login {
    user: String,
    digest: Digest,
}

/// Without the password's digest, from which a short one can be found.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LoginError {
    #[error("the password for HTTP has fewer than {PASSWORD_CHARACTERS_MIN} characters")]
    Short,
    #[error("the login for HTTP has more than {TEXT_BYTES_MAX} bytes")]
    Long,
}

impl Login {
    pub fn new(user: &str, password: &str) -> Result<Self, LoginError> {
        if password.chars().count() < PASSWORD_CHARACTERS_MIN {
            return Err(LoginError::Short);
        }
        let digest = digest(user, password).ok_or(LoginError::Long)?;
        let user = user.to_owned();
        Ok(Self { user, digest })
    }

    pub(crate) fn is(&self, user: &str, password: &str) -> bool {
        digest(user, password) == Some(self.digest)
    }
}

/// `None`: it is too long to be looked at.
fn digest(user: &str, password: &str) -> Option<Digest> {
    // No user has a line break in it, see where they are read.
    let text = format!("{user}\n{password}");
    (text.len() <= TEXT_BYTES_MAX).then(|| Digest::of(text.as_bytes()))
}

/// Wrong tries, by where they come from.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<BTreeMap<IpAddr, Tries>>);

#[derive(Debug)]
struct Tries {
    since: Instant,
    wrong: u32,
}

impl Attempts {
    /// Looks at what is presented with `is_right`, unless there were too many wrong ones: then the answer is
    /// how long to wait.
    pub(crate) fn judged(
        &self,
        from: IpAddr,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Duration> {
        let from = network(from);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, tries| now.duration_since(tries.since) < WINDOW);
        let rest = |tries: &Tries| WINDOW.saturating_sub(now.duration_since(tries.since));
        match known.get(&from) {
            Some(tries) if tries.wrong >= WRONG_MAX => return Err(rest(tries)),
            None if known.len() >= ADDRESSES_MAX => {
                return Err(known.values().map(rest).min().unwrap_or(WINDOW));
            }
            _ => {}
        }
        if is_right() {
            known.remove(&from);
            return Ok(true);
        }
        let tries = known.entry(from).or_insert(Tries { since: now, wrong: 0 });
        tries.wrong += 1;
        Ok(false)
    }
}

/// Who has one address of IPv6 has its whole network.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_its_user_and_password_and_says_neither() {
        let login = Login::new("ann", "correct horse").unwrap();
        assert!(login.is("ann", "correct horse"));
        for (user, password) in [
            ("ann", ""),
            ("", "correct horse"),
            ("anncorrect", " horse"),
            ("ann", "Correct horse"),
        ] {
            assert!(!login.is(user, password), "{user} {password}");
        }
        assert!(!login.is("ann", &"x".repeat(5 << 20)));
        assert!(!format!("{login:?}").contains("horse"));
        assert_eq!(Login::new("ann", "123456789").unwrap_err(), LoginError::Short);
        assert_eq!(
            Login::new("ann", &"x".repeat(2000)).unwrap_err(),
            LoginError::Long
        );
    }

    #[test]
    fn who_is_wrong_too_often_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let begin = Instant::now();
        for _ in 0..WRONG_MAX {
            assert_eq!(attempts.judged(one, begin, || false), Ok(false));
        }
        let later = begin + WINDOW / 4;
        let looked_at = || panic!("it is not looked at");
        assert_eq!(attempts.judged(one, later, looked_at), Err(WINDOW * 3 / 4));
        // The same, as a system that speaks both kinds writes it.
        assert!(
            attempts
                .judged("::ffff:192.0.2.1".parse().unwrap(), later, || true)
                .is_err()
        );
        assert_eq!(attempts.judged(other, later, || true), Ok(true));
        assert_eq!(attempts.judged(one, begin + WINDOW, || true), Ok(true));
        // A network of IPv6 is one.
        for number in 0..WRONG_MAX {
            let from = format!("2001:db8::{number:x}").parse().unwrap();
            assert_eq!(attempts.judged(from, begin, || false), Ok(false));
        }
        assert!(
            attempts
                .judged("2001:db8::ffff".parse().unwrap(), begin, || true)
                .is_err()
        );
    }

    #[test]
    fn no_more_addresses_are_kept_than_there_is_room_for() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..ADDRESSES_MAX as u32 + 10 {
            let from = IpAddr::V4((0x0a00_0000 + number).into());
            let tried = attempts.judged(from, now, || false);
            assert_eq!(tried.is_ok(), number < ADDRESSES_MAX as u32, "{number}");
        }
        assert_eq!(attempts.0.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
