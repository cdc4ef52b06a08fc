//! Calls whose caller chooses among providers by what only the dispatcher knows of their engines: it is asked
//! first, and again where nobody fitted, or where others can be called by then.
//!
//! Always: nothing of what was asked is in a snapshot, since nothing follows from it before the call is made:
//! a program that is moved meanwhile asks again.

use std::collections::BTreeSet;

use wayfare_abi::errno::Errno;
use wayfare_mail::CallOptions;
use wayfare_protocol::address::Address;
use wayfare_protocol::choice::Loads;
use wayfare_protocol::ids::EngineId;

use super::asking;
use super::calls::refused;
use super::context::Context;
use super::service_requests::{LoadsKnown, Reply, ServiceAsk};
use super::toward::{Pace, left_ms, toward_until};

/// What the dispatcher has said is good for so long: many calls in a row ask once.
const GOOD_NS: u64 = 1_000_000_000;

enum Step {
    Called(u64),
    /// These can be called, and are to be asked about.
    Ask(BTreeSet<EngineId>),
    /// The broker does not tell who picks.
    Refused,
}

/// As `calling::call`.
pub(super) fn call(
    context: &mut Context,
    address: &Address,
    what: (&str, &[u8]),
    (deadline_ms, options): (u64, &CallOptions),
) -> Result<Option<u64>, Errno> {
    let deadline_ms = i64::try_from(deadline_ms).unwrap_or(i64::MAX);
    let until_ns = context.until_ns(deadline_ms).unwrap_or(u64::MAX);
    let mut options = options.clone();
    let picks = options.choose.service().cloned();
    if let Some(service) = &picks {
        // Before anybody is asked; and the log names this grant, and not that of the address.
        let watched = context.control.lock().mail.watch(service);
        watched.map_err(|refusal| refused(context, "call", service.as_str(), refusal))?;
    }
    let mut asked = BTreeSet::new();
    loop {
        let now_ns = context.clock.now_ns();
        // Where nobody fits, that can change without a word.
        let look_until_ns = until_ns.min(now_ns.saturating_add(GOOD_NS));
        let step = toward_until(
            context,
            ("call", address),
            (look_until_ns, Pace::ByCaller),
            |mail, now_ns| {
                // Asked again, it would be refused again, for ever.
                if picks
                    .as_ref()
                    .is_some_and(|service| mail.is_watch_refused(service))
                {
                    return Ok(Some(Step::Refused));
                }
                let Some(engines) = mail.candidates(address, &options.choose)? else {
                    return Ok(None);
                };
                if engines != asked {
                    return Ok(Some(Step::Ask(engines)));
                }
                let called = mail.call(address, what, left_ms(now_ns, until_ns), until_ns, &options)?;
                Ok(called.map(Step::Called))
            },
        );
        match step {
            Ok(Some(Step::Called(number))) => {
                // The call of who picks, and the call.
                context.pace(1 + u64::from(picks.is_some()));
                return Ok(Some(number));
            }
            Ok(Some(Step::Refused)) => return Err(Errno::ACCES),
            Ok(Some(Step::Ask(engines))) => {
                let Some(loads) = ask(context, &options, &engines, until_ns)? else {
                    return Ok(None);
                };
                (options.loads, asked) = (loads, engines);
            }
            Ok(None) => {
                context.blocked_until_ns = Some(until_ns);
                return Ok(None);
            }
            Err(Errno::NOENT | Errno::TIMEDOUT) if look_until_ns < until_ns => asked.clear(),
            Err(errno) => return Err(errno),
        }
    }
}

/// `None`: the program shall stop first.
fn ask(
    context: &mut Context,
    options: &CallOptions,
    engines: &BTreeSet<EngineId>,
    until_ns: u64,
) -> Result<Option<Loads>, Errno> {
    let Some(ask) = options.choose.asks(engines.iter().cloned()) else {
        return Ok(Some(Loads::new()));
    };
    let now_ns = context.clock.now_ns();
    if let Some(known) = context
        .loads_known
        .as_ref()
        .filter(|known| known.ask == ask && known.until_ns > now_ns)
    {
        return Ok(Some(known.loads.clone()));
    }
    let reply = asking::ask_until(context, &ServiceAsk::Loads(ask.clone()), until_ns)?;
    let Some(Reply::Loads(answer)) = reply else {
        return Ok(None);
    };
    let known = LoadsKnown {
        ask,
        until_ns: context.clock.now_ns().saturating_add(GOOD_NS),
        loads: answer.into(),
    };
    let loads = known.loads.clone();
    context.loads_known = Some(known);
    Ok(Some(loads))
}
