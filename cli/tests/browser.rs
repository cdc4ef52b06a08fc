//! The dashboard in a real browser, as people use it: Debian's Chromium, without a window. Where there is
//! none it is not tried, which is told, unless WAYFARE_REQUIRE_CHROMIUM is set. WAYFARE_SCREENSHOTS names a
//! folder for pictures of every screen, light and dark, wide and narrow.

#![cfg(feature = "gateway")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chromium;
mod support;

use chromium::Browser;
use support::Up;

/// Of a program on a card, with this state.
fn chip(engine: &str, state: &str) -> String {
    format!("document.querySelector('.card[data-engine=\"{engine}\"] .chip[data-state=\"{state}\"]')")
}

fn browser() -> Option<Browser> {
    let found = Browser::start();
    if found.is_none() {
        assert!(
            std::env::var_os("WAYFARE_REQUIRE_CHROMIUM").is_none(),
            "there is no chromium"
        );
        eprintln!("WARNING: no chromium here: the dashboard is NOT tried");
    }
    found
}

#[test]
fn the_dashboard_runs_moves_by_dragging_pauses_and_kills() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start_with(&folder.path().join("up"), 2, &["--http", "127.0.0.1:0"]);
    let link = up.announced["http"].as_str().unwrap().to_owned();
    browser.open(&link);
    browser.until("document.querySelectorAll('.card .badge.ok').length === 2");
    assert_eq!(
        browser.evaluate("location.search"),
        "",
        "the token stays in the address"
    );

    // A first visit: the demo, in one press.
    browser.until("document.querySelector('.welcome button')");
    browser.pictures("fleet-empty");
    browser.click("document.querySelector('.welcome button')");
    browser.until(&chip("local-1", "running"));
    let (from, to) = (
        chip("local-1", "running"),
        "document.querySelector('.card[data-engine=\"local-2\"]')",
    );
    browser.drag(&from, to, "document.querySelector('.card.takes')");
    browser.until(&chip("local-2", "running"));
    browser.until("document.querySelector('.card[data-engine=\"local-2\"] .still:not([hidden])')?.textContent.startsWith('stood still')");
    browser.pictures("fleet");

    // One that is cordoned goes grey and says why, and what is dropped there goes back.
    up.command(&["engine", "cordon", "local-1"]);
    browser
        .until("document.querySelector('.card[data-engine=\"local-1\"] .badge').textContent === 'cordoned'");
    let (from, to) = (
        chip("local-2", "running"),
        "document.querySelector('.card[data-engine=\"local-1\"]')",
    );
    browser.drag(
        &from,
        to,
        "document.querySelector('.card.refuses .why').textContent.includes('cordoned')",
    );
    browser.until("!document.querySelector('.ghost') && !document.querySelector('.card.refuses')");
    assert!(
        browser.is(&chip("local-2", "running")),
        "it has gone all the same"
    );
    up.command(&["engine", "uncordon", "local-1"]);

    // By keys alone.
    browser.evaluate(&format!("{}.focus()", chip("local-2", "running")));
    browser.key("Enter");
    browser.until("document.querySelector('dialog[open]')");
    browser.click_text("dialog[open] button", "Pause");
    browser.until(&chip("local-2", "paused"));

    for screen in [
        "apps",
        "logs",
        "operations",
        "run",
        "files",
        "timeline",
        "messages",
        "devices",
    ] {
        if !browser.is(&format!("document.querySelector('#nav a[href=\"#/{screen}\"]')")) {
            continue;
        }
        browser.evaluate(&format!("location.hash = '#/{screen}'"));
        browser.until(&format!("document.querySelector('.screen-{screen} h1')"));
        browser.pictures(screen);
        browser.check_names(screen);
    }
    files(&mut browser);
    applications(&mut browser);
    browser.evaluate("location.hash = '#/operations'");
    browser.until("document.querySelector('.screen-operations')?.textContent.includes('local-1 → local-2')");
    browser.evaluate("location.hash = '#/logs'");
    browser.until("document.querySelector('.log')?.textContent.includes('primes')");

    browser.evaluate("location.hash = '#/fleet'");
    browser.until(&chip("local-2", "paused"));
    browser.click(&chip("local-2", "paused"));
    browser.click_text("dialog[open] a", "Open");
    browser.until("document.querySelector('.screen-program .log')?.textContent.includes('primes')");
    browser.pictures("program");
    browser.click_text(".screen-program button", "Kill");
    browser.click_text("dialog[open] button", "Kill");
    browser.until("document.querySelector('.screen-program .badge').textContent === 'gone'");
    browser.check_names("program");
    let errors = browser.errors();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// A file is written, edited and read in parts; who did not see the last change does not overwrite it.
fn files(browser: &mut Browser) {
    browser.evaluate("location.hash = '#/files'");
    browser.click_text(".screen-files button", "New file");
    browser.until("document.querySelector('dialog[open] input')");
    browser.evaluate("document.querySelector('dialog[open] input').value = 'notes.txt'");
    browser.click_text("dialog[open] button", "Make it");
    browser.until("document.querySelector('dialog[open] textarea')");
    browser.evaluate("document.querySelector('dialog[open] textarea').value = 'first line'");
    browser.click_text("dialog[open] button", "Save");
    browser
        .until("[...document.querySelectorAll('td button')].some((one) => one.textContent === 'notes.txt')");
    browser.click_text("td button", "notes.txt");
    browser.until("document.querySelector('dialog[open] textarea')?.value === 'first line'");
    browser.evaluate("document.querySelector('dialog[open] textarea').value = 'second line'");
    browser.click_text("dialog[open] button", "Save");
    browser.until("!document.querySelector('dialog[open]')");
    let ask = "(async (method, headers, query = '', body) => { const answer = await fetch('/files/notes.txt' + query, { method, headers, body }); \
               return [answer.status, await answer.text()]; })";
    for (call, status, text) in [
        ("'GET', { range: 'bytes=7-10' }", 206, "line"),
        ("'GET', { range: 'bytes=99-' }", 416, ""),
        ("'GET', {}, '?version=1'", 200, "first line"),
        (
            "'PUT', { 'if-match': '\"1-1\"' }, '', 'third'",
            412,
            "not as it was",
        ),
        (
            "'PUT', { 'if-none-match': '*' }, '', 'third'",
            412,
            "not as it was",
        ),
        ("'GET', {}, '?history'", 200, "\"version\":2"),
        ("'POST', {}, '?mv=/fleet/other.txt'", 200, "notes.txt"),
        ("'GET', {}", 404, "no-file"),
    ] {
        let answer = browser.evaluate(&format!("{ask}({call})"));
        assert_eq!(answer[0], status, "{call}: {answer}");
        assert!(answer[1].as_str().unwrap().contains(text), "{call}: {answer}");
    }
}

/// What a manifest would change is seen as it is written, and then it is so.
fn applications(browser: &mut Browser) {
    browser.evaluate("location.hash = '#/apps'");
    browser.until("document.querySelector('.screen-apps button.primary:not(:disabled)')");
    browser.click_text(".screen-apps button", "Apply");
    browser.until("document.querySelector('.screen-apps table')?.textContent.includes('shop/web/1')");
    browser.until("[...document.querySelectorAll('.screen-apps td .badge')].filter((one) => one.textContent === 'running').length === 2");
    browser.pictures("apps-running");
}
