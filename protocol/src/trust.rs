//! Who may order what, proved by signatures, so that a login at the broker is no authority by itself.
//!
//! The fleet's *root key* signs one document, the [`roster`]: the public keys of people and dispatchers with
//! their roles, and whether engines refuse what is not signed. Whatever one of these keys orders carries a
//! signature in the one envelope of [`signed`], and so does the roster.
//!
//! ```text
//!  root key ---signs---> roster ---names---> key of ann (operator) ---signs---> command
//!  (offline)             (retained; the highest version stays)                  for this topic, to engines' challenges
//! ```
//! *Freshness* needs no clock. Each engine draws a [`Challenge`](crate::ids::Challenge) and shows it in its
//! status. An order answers the challenges of the engines that it concerns, by name, and counts only while
//! they are current; within that time its operation's id makes it count once. So what was recorded counts
//! nowhere else, and not after the challenge has changed: at a restart, after
//! [`ORDERS_PER_CHALLENGE`](crate::limits::ORDERS_PER_CHALLENGE) orders, and after
//! [`CHALLENGE_MS`](crate::limits::CHALLENGE_MS).

pub mod card;
pub mod challenges;
pub mod place;
pub mod roster;
pub mod signed;
pub mod warrant;
