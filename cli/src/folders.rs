//! Where this user's files are: what is written by hand in the configuration folder, what must survive a
//! restart in the state folder.

use std::path::PathBuf;

/// Where this user's own key is kept.
pub(crate) fn operator_key_path() -> Option<PathBuf> {
    file_path(|name| std::env::var(name).ok(), "operator.key")
}

/// Where a fleet's root key is kept by who makes one.
pub(crate) fn root_key_path() -> Option<PathBuf> {
    file_path(|name| std::env::var(name).ok(), "root.key")
}

/// Where contexts are kept.
pub(crate) fn contexts_path() -> Option<PathBuf> {
    file_path(|name| std::env::var(name).ok(), "contexts.toml")
}

/// A file of the configuration folder, as the XDG Base Directory Specification has it.
pub(crate) fn file_path(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<PathBuf> {
    let folder = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("wayfare").join(name))
}

/// A folder of this user's for what must survive a restart.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("wayfare"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_where_the_desktop_standard_says() {
        let path = |pairs: &[(&str, &str)]| {
            let variable = |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            file_path(variable, "config.toml")
        };
        assert_eq!(
            path(&[("HOME", "/h")]),
            Some("/h/.config/wayfare/config.toml".into())
        );
        assert_eq!(
            path(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]),
            Some("/c/wayfare/config.toml".into())
        );
        assert_eq!(path(&[]), None);
    }
}
