//! The JavaScript that is compiled in, by the names that `require` knows it by. Modules whose name begins with
//! `internal/` are the runtime's own; packages are those of `package.json`, as `bundle.mjs` has bundled them.

/// The body of a function that is given the host's calls.
pub(crate) const BOOTSTRAP: &str =
    concat!("(function (native) {", include_str!("../js/bootstrap.js"), "\n})");

macro_rules! own {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../js/", $name, ".js")))),*]
    };
}

const OWN: &[(&str, &str)] = own![
    "internal/abort" "internal/console" "internal/encoding" "internal/global-process" "internal/globals"
    "internal/inspect" "internal/loop" "internal/mailbox" "internal/modules" "internal/process" "internal/source-maps"
    "internal/typescript" "internal/url"
    "assert" "crypto" "fs" "http" "os" "readline" "stream" "things-js" "timers" "url" "util" "wayfare"
];

macro_rules! packages {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../target/packages/", $name, ".js")))),*]
    };
}

/// What `bundle.mjs` makes of the packages.
const PACKAGES: &[(&str, &str)] = packages![
    "internal/packages/event-target" "internal/packages/source-map" "internal/packages/stream"
    "internal/packages/typescript" "internal/packages/url"
    "buffer" "events" "path" "querystring" "string_decoder"
];

pub(crate) fn find(name: &str) -> Option<&'static str> {
    let all = OWN.iter().chain(PACKAGES);
    all.clone().find(|one| one.0 == name).map(|one| one.1)
}
