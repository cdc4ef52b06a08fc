//! The JavaScript that is compiled in, by the names that `require` knows it by. Modules whose name begins with
//! `internal/` are the runtime's own; packages are those of `package.json`.

/// The body of a function that is given the host's calls.
pub(crate) const BOOTSTRAP: &str =
    concat!("(function (native) {", include_str!("../js/bootstrap.js"), "\n})");

macro_rules! own {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../js/", $name, ".js")))),*]
    };
}

const OWN: &[(&str, &str)] = own![
    "internal/console" "internal/encoding" "internal/globals" "internal/inspect" "internal/loop" "internal/modules"
    "internal/process"
    "assert" "fs" "os" "things-js" "timers" "util" "wayfare"
];

macro_rules! package {
    ($path:literal) => {
        include_str!(concat!("../node_modules/", $path))
    };
}

const PACKAGES: &[(&str, &str)] = &[
    ("base64-js", package!("base64-js/index.js")),
    ("buffer", package!("buffer/index.js")),
    ("events", package!("events/events.js")),
    ("ieee754", package!("ieee754/index.js")),
    ("path", package!("path-browserify/index.js")),
    ("querystring", package!("querystring-es3/index.js")),
    ("querystring/decode", package!("querystring-es3/decode.js")),
    ("querystring/encode", package!("querystring-es3/encode.js")),
    ("safe-buffer", package!("safe-buffer/index.js")),
    ("string_decoder", package!("string_decoder/lib/string_decoder.js")),
];

pub(crate) fn find(name: &str) -> Option<&'static str> {
    let all = OWN.iter().chain(PACKAGES);
    all.clone().find(|one| one.0 == name).map(|one| one.1)
}
