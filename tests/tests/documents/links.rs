//! Links between the project's own pages, and into its files, lead to something that is there.

use std::path::{Path, PathBuf};

use crate::markdown::{anchors, links, page};
use crate::{files, read, root};

/// Where the repository's files are for readers of the book, which has no files but its own.
const REPOSITORY: &str = "https://github.com/wayfare-iot/wayfare";

#[test]
fn links_lead_somewhere() {
    let root = root();
    let pages = files(&root, "md");
    let wrong: Vec<String> = pages.iter().flat_map(|page| wrong_links(&root, page)).collect();
    assert!(
        wrong.is_empty(),
        "{} links lead nowhere:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn wrong_links(root: &Path, path: &Path) -> Vec<String> {
    let text = page(path);
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    let wrong =
        |link: String| problem(root, path, &text, &link).map(|problem| format!("{shown}: {link}: {problem}"));
    links(&text).into_iter().filter_map(wrong).collect()
}

fn problem(root: &Path, from: &Path, text: &str, link: &str) -> Option<&'static str> {
    let (place, anchor) = link.split_once('#').unwrap_or((link, ""));
    if place.is_empty() {
        return (!anchors(text).iter().any(|known| known == anchor))
            .then_some("no such heading on this page");
    }
    let file = match place.strip_prefix(REPOSITORY) {
        Some(inside) => root.join(in_repository(inside)?),
        None if place.contains("://") => return None,
        None => from.parent()?.join(place),
    };
    let book = root.join("book/src");
    if from.starts_with(&book) && !place.contains("://") && !is_inside(&book, &file) {
        return Some("not in the book: give the repository's address");
    }
    if !file.exists() {
        return Some("no such file");
    }
    if anchor.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    (!anchors(&page(&file)).iter().any(|known| known == anchor)).then_some("no such heading there")
}

/// The path in the repository that an address of a file or folder is of; `None` for its issues and so on.
fn in_repository(inside: &str) -> Option<&str> {
    ["/blob/main/", "/tree/main/"]
        .iter()
        .find_map(|kind| inside.strip_prefix(kind))
}

fn is_inside(folder: &Path, file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else {
        return true;
    };
    folder.canonicalize().is_ok_and(|folder| file.starts_with(folder))
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let folder = root().join("book/src");
    let summary = folder.join("SUMMARY.md");
    let listed: Vec<PathBuf> = links(&read(&summary))
        .iter()
        .map(|link| folder.join(link))
        .collect();
    for path in files(&folder, "md") {
        assert!(
            path == summary || listed.contains(&path),
            "{} is not in SUMMARY.md",
            path.display()
        );
    }
}
