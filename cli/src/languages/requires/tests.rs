//! What is found of programs with files, packages and links, as people have them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn required(path: &Path) -> Required {
    Required::of(&Source::find(path).unwrap().unwrap()).unwrap()
}

#[test]
fn a_file_takes_along_what_it_requires_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            (
                "app.js",
                "const a = require('./lib/a'); import('left'); require(\"node:https\"); require('fs')",
            ),
            (
                "lib/a.js",
                "import { b } from '../other.js'; export * from `@x/y/part`;",
            ),
            ("other.ts", "import type { T } from './types'"),
            ("types.d.ts", ""),
            ("data.txt", "not asked for"),
            (
                "node_modules/left/package.json",
                r#"{ "dependencies": { "right": "1" } }"#,
            ),
            ("node_modules/left/index.js", "require('net')"),
            ("node_modules/left/node_modules/right/index.js", ""),
            ("node_modules/right/index.js", "another one"),
            ("node_modules/@x/y/part.js", ""),
            ("node_modules/not/index.js", ""),
        ],
    );
    let found = required(&root.join("app.js"));
    assert_eq!(found.main, "app.js");
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    let expected = [
        "app.js",
        "lib/a.js",
        "node_modules/@x/y/part.js",
        "node_modules/left/index.js",
        "node_modules/left/package.json",
        // That of left: nobody asks for the other.
        "node_modules/right/index.js",
        "other.ts",
    ];
    assert_eq!(names, expected);
    assert_eq!(found.read().unwrap()["node_modules/right/index.js"], b"");
    // What a package asks for is its own matter.
    let asks = format!("{}:1", root.canonicalize().unwrap().join("app.js").display());
    let lacking = [("Node's module 'node:https'".to_owned(), asks)];
    assert_eq!(found.lacking, BTreeMap::from(lacking));
    assert_eq!(
        found.read().unwrap()["app.js"].len() as u64,
        fs::metadata(root.join("app.js")).unwrap().len()
    );
}

#[test]
fn what_is_above_a_file_makes_the_folder_larger_and_packages_come_to_its_top() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("project/package.json", r#"{ "type": "module" }"#),
            ("project/src/deep/app.js", "import '../shared.js'; import 'pack';"),
            ("project/src/shared.js", ""),
            ("node_modules/pack/package.json", "{ no JSON"),
            ("node_modules/pack/build/addon.node", ""),
        ],
    );
    let found = required(&root.join("project/src/deep/app.js"));
    assert_eq!(found.main, "src/deep/app.js");
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    let expected = [
        "node_modules/pack/build/addon.node",
        "node_modules/pack/package.json",
        "package.json",
        "src/deep/app.js",
        "src/shared.js",
    ];
    assert_eq!(names, expected);
    assert_eq!(found.packages, BTreeSet::from(["pack".to_owned()]));
    assert_eq!(
        found.lacking.keys().collect::<Vec<_>>(),
        ["the native add-on of package 'pack'"]
    );
}

#[test]
fn a_program_of_somebody_else_takes_no_secrets_along() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("home/.ssh/id_ed25519", "secret"),
            ("home/.config/token.json", "secret"),
            ("home/password", "secret"),
            (
                "home/got/app.js",
                "/* require('../.ssh/id_ed25519'); */ require('../password'); require('../.config/token');
                 require('./a'); require('./b'); require('.ssh');",
            ),
            (
                "home/got/a/package.json",
                r#"{ "main": "../../.config/token.json" }"#,
            ),
            ("home/got/b/package.json", r#"{ "main": "/etc/passwd" }"#),
            (
                "home/got/package.json",
                r#"{ "dependencies": { "/etc": "1", "../../.ssh": "1" } }"#,
            ),
            ("home/got/node_modules/x", ""),
        ],
    );
    let found = required(&root.join("home/got/app.js"));
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["app.js"]);
    write(root, &[("home/got/main.js", "require('/etc/passwd')")]);
    let found = required(&root.join("home/got"));
    assert!(
        found
            .files
            .values()
            .all(|path| path.to_string_lossy().contains("/got/")),
        "{:?}",
        found.files
    );
}

#[test]
fn a_source_map_beside_a_file_comes_along() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("app.js", "require('./other');\n//# sourceMappingURL=app.js.map\n"),
            ("app.js.map", "{}"),
            ("other.js", "//# sourceMappingURL=.config.map"),
            (".config.map", "secret"),
        ],
    );
    let found = required(&root.join("app.js"));
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["app.js", "app.js.map", "other.js"]);
    for elsewhere in [
        "../x.map",
        "/etc/x.map",
        "data:,{}.map",
        "https://x/y.map",
        "secret.pem",
    ] {
        write(
            root,
            &[("app.js", &format!("//# sourceMappingURL={elsewhere}\n"))],
        );
        assert_eq!(required(&root.join("app.js")).files.len(), 1, "{elsewhere}");
    }
}

#[test]
fn what_the_runtime_lacks_is_known_here() {
    let modules = include_str!("../../../../languages/js/js/internal/modules.js");
    let list = modules.split_once("const MISSING = [").unwrap().1;
    let list = list.split_once("];").unwrap().0;
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(names, LACKING);
}

#[test]
fn a_folder_is_taken_whole_with_the_packages_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("main.js", "require('used')"),
            ("data.txt", "read by name"),
            (".git/x", ""),
            ("node_modules/used/index.js", ""),
            ("node_modules/unused/index.js", ""),
        ],
    );
    let found = required(root);
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["data.txt", "main.js", "node_modules/used/index.js"]);
}

#[test]
fn names_are_tried_in_the_order_in_which_the_runtime_does() {
    let [modules, typescript] = [
        include_str!("../../../../languages/js/js/internal/modules.js"),
        include_str!("../../../../languages/js/js/internal/typescript.js"),
    ];
    let listed = |text: &'static str| {
        let list = text.split_once("const EXTENSIONS = [").unwrap().1;
        let list = list.split_once("];").unwrap().0;
        list.split('"')
            .skip(1)
            .step_by(2)
            .map(|one| one.trim_start_matches('.'))
    };
    let names: Vec<&str> = listed(modules).chain(listed(typescript)).collect();
    assert_eq!(names, EXTENSIONS);
}

/// As pnpm lays packages out: links to where they really are, beside what they depend on.
#[test]
fn packages_that_are_links_are_taken_with_what_they_depend_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let store = "project/node_modules/.pnpm";
    let in_store =
        |package: &str, version: &str| format!("{store}/{package}@{version}/node_modules/{package}");
    let about = |package: &str, depends: &str| {
        let depends: Vec<String> = depends
            .split_whitespace()
            .map(|one| format!("\"{one}\": \"*\""))
            .collect();
        format!(
            r#"{{ "name": "{package}", "dependencies": {{ {} }} }}"#,
            depends.join(",")
        )
    };
    for (package, version, depends) in [
        ("a", "1", "b c"),
        ("b", "1", "a c"),
        ("c", "1", ""),
        ("c", "2", ""),
    ] {
        let place = in_store(package, version);
        let content = format!("{package}@{version}");
        write(
            &root,
            &[
                (&format!("{place}/package.json"), &about(package, depends)),
                (&format!("{place}/index.js"), &content),
            ],
        );
    }
    write(
        &root,
        &[
            ("project/package.json", "{}"),
            (
                "project/src/main.js",
                "require('a'); require('c'); require('w'); require('out')",
            ),
            ("project/shared/w/package.json", "{}"),
            ("project/shared/w/index.js", ""),
            ("elsewhere/out/package.json", "{}"),
            ("elsewhere/out/index.js", "secret"),
        ],
    );
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(root.join(to), root.join(at)).unwrap();
    link(&in_store("a", "1"), "project/node_modules/a");
    // Another one than a and b depend on.
    link(&in_store("c", "2"), "project/node_modules/c");
    link("project/shared/w", "project/node_modules/w");
    link("elsewhere/out", "project/node_modules/out");
    link(&in_store("b", "1"), &format!("{store}/a@1/node_modules/b"));
    link(&in_store("c", "1"), &format!("{store}/a@1/node_modules/c"));
    link(&in_store("a", "1"), &format!("{store}/b@1/node_modules/a"));
    link(&in_store("c", "1"), &format!("{store}/b@1/node_modules/c"));
    let found = required(&root.join("project/src/main.js"));
    let contents = found.read().unwrap();
    let code = contents.iter().filter(|(name, _)| name.ends_with("index.js"));
    let code: Vec<(&str, &str)> = code
        .map(|(name, content)| (name.as_str(), std::str::from_utf8(content).unwrap()))
        .collect();
    let expected = [
        ("node_modules/a/index.js", "a@1"),
        ("node_modules/a/node_modules/c/index.js", "c@1"),
        ("node_modules/b/index.js", "b@1"),
        ("node_modules/b/node_modules/c/index.js", "c@1"),
        ("node_modules/c/index.js", "c@2"),
        ("node_modules/w/index.js", ""),
    ];
    assert_eq!(code, expected);
}

/// a@1 -> b@1 -> a@2 -> b@2 -> a@1: no tree of folders has that, and links that are read and not taken along
/// would go on.
#[test]
fn versions_in_a_circle_end_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let store = "project/node_modules/.pnpm";
    write(
        &root,
        &[
            ("project/main.js", "require('a')"),
            ("project/package.json", "{}"),
            ("project/about-a.json", r#"{ "dependencies": { "b": "*" } }"#),
            ("project/about-b.json", r#"{ "dependencies": { "a": "*" } }"#),
        ],
    );
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(root.join(to), root.join(at)).unwrap();
    let place = |package: &str, version: u8| format!("{store}/{package}@{version}/node_modules/{package}");
    for (package, version) in [("a", 1), ("a", 2), ("b", 1), ("b", 2)] {
        let place = place(package, version);
        fs::create_dir_all(root.join(&place)).unwrap();
        link(
            &format!("project/about-{package}.json"),
            &format!("{place}/package.json"),
        );
    }
    link(&place("a", 1), "project/node_modules/a");
    for ((from, version), (name, other)) in [
        (("a", 1), ("b", 1)),
        (("b", 1), ("a", 2)),
        (("a", 2), ("b", 2)),
        (("b", 2), ("a", 1)),
    ] {
        let at = format!("{store}/{from}@{version}/node_modules/{name}");
        link(&place(name, other), &at);
    }
    let source = Source::find(&root.join("project/main.js")).unwrap().unwrap();
    let refused = Required::of(&source).unwrap_err();
    assert!(
        refused.is("too-large") && refused.message().contains("deep"),
        "{refused:?}"
    );
}

#[test]
fn more_files_than_a_program_may_have_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("app.js", "// Of many files.\nrequire('huge')"),
            ("node_modules/huge/package.json", "{}"),
        ],
    );
    for number in 0..20_000 {
        fs::write(root.join(format!("node_modules/huge/{number}.js")), "").unwrap();
    }
    let source = Source::find(&root.join("app.js")).unwrap().unwrap();
    let refused = Required::of(&source).unwrap_err();
    let asks = format!(
        "package 'huge', which {}:2 asks for",
        root.join("app.js").display()
    );
    assert!(
        refused.is("too-large") && refused.message().starts_with(&asks),
        "{refused:?}"
    );
    assert!(refused.message().contains("more than 16384 files"), "{refused:?}");
    // What nothing asks for is no matter.
    write(root, &[("app.js", "require('fs')")]);
    assert_eq!(required(&root.join("app.js")).files.len(), 1);
}
