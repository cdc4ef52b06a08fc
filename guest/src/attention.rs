//! What the program attends to that programs of earlier releases know nothing of.

use std::cell::Cell;

use crate::Result;
use crate::action::Action;

/// What the program attends to that programs of earlier releases know nothing of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attention {
    pub(crate) cancels: bool,
    pub(crate) order: bool,
    pub(crate) reply: Option<u64>,
}

thread_local! {
    static ATTENTION: Cell<Attention> = const { Cell::new(Attention { cancels: false, order: false, reply: None }) };
}

pub(crate) fn attended() -> Attention {
    ATTENTION.get()
}

pub(crate) fn attend(change: impl FnOnce(&mut Attention)) -> Result<()> {
    let mut attention = ATTENTION.get();
    change(&mut attention);
    ATTENTION.set(attention);
    let action = Action::new("attend")
        .flag("cancels", attention.cancels)
        .flag("order", attention.order)
        .flag("about", true);
    let action = match attention.reply {
        Some(number) => action.number("reply", number),
        None => action,
    };
    action.perform(&[]).map(drop)
}
