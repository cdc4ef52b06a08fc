//! The list of services: what the acting dispatcher is asked under which name.

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::context::Context;
use crate::requests::Inbox;
use crate::{about, apps, files, lists, logs, numbers, operations, registry, values};

/// Every service of the acting dispatcher.
pub(crate) const SERVICES: &[Service] = &[
    Service {
        name: "about",
        run: |context, inbox| about::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_client::app::ask::SERVICE,
        run: |context, inbox| apps::run(context, inbox).boxed(),
    },
    Service {
        name: "registry",
        run: |context, inbox| registry::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_protocol::files::SERVICE,
        run: |context, inbox| files::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_client::stored_logs::SERVICE,
        run: |context, inbox| logs::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_protocol::numbers::SERVICE,
        run: |context, inbox| numbers::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_client::lists::SERVICE,
        run: |context, inbox| lists::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_client::operations::SERVICE,
        run: |context, inbox| operations::run(context, inbox).boxed(),
    },
    Service {
        name: wayfare_protocol::values::SERVICE,
        run: |context, inbox| values::run(context, inbox).boxed(),
    },
];

/// One service: its name in requests' topics, and its task.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Context, Inbox) -> BoxFuture<'static, ()>,
}
