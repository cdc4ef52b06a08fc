//! The dashboard in a real browser, as people use it: Debian's Chromium, without a window. Where there is
//! none it is not tried, which is told, unless WAYFARE_REQUIRE_CHROMIUM is set. WAYFARE_SCREENSHOTS names a
//! folder for pictures of every screen, light and dark, wide and narrow; WAYFARE_AXE the file `axe.min.js` of
//! the npm package axe-core, by whose rules of WCAG 2.1 AA every screen is looked at.

#![cfg(feature = "gateway")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chromium;
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use chromium::Browser;
use support::{Process, Up, command, run};

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
    browser.film("move");
    browser.drag(&from, to, "document.querySelector('.card.takes')");
    browser.film_end(40);
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
        browser.evaluate(&format!("location.hash = '#/{screen}'"));
        browser.until(&format!("document.querySelector('.screen-{screen} h1')"));
        browser.pictures(screen);
        browser.check_names(screen);
    }
    files(&mut browser);
    applications(&mut browser);
    messages(&mut browser, &up);
    pages(&mut browser, &up);
    devices(&mut browser, &up, folder.path());
    requests_from_elsewhere(&mut browser, &up);
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
    writers(browser);
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

/// Of writers that know the same version one succeeds, though all are under way at once; what is appended
/// is there as a whole.
fn writers(browser: &mut Browser) {
    let found = browser.evaluate(
        "(async () => {
            const at = '/files/race.txt';
            const put = (body, headers) => fetch(at, { method: 'PUT', body, headers });
            const etag = (await put('first', { 'if-none-match': '*' })).headers.get('etag');
            const all = await Promise.all([0, 1, 2, 3, 4, 5].map((number) => put(`writer ${number}`, { 'if-match': etag })));
            const statuses = all.map((answer) => answer.status);
            const kept = await (await fetch(at)).text();
            const add = (body, headers = {}) => fetch(at, { method: 'PATCH', body, headers });
            const added = await Promise.all([0, 1, 2, 3].map((number) => add(`\\nline ${number}`)));
            const lines = (await (await fetch(at)).text()).split('\\n');
            const now = added.map((answer) => answer.status);
            const late = [(await add('late', { 'if-match': etag })).status, (await fetch('/files/none', { method: 'PATCH', body: 'x' })).status];
            const gone = (await fetch(at, { method: 'DELETE', headers: { 'if-match': etag } })).status;
            return { statuses: statuses.sort(), kept: kept === `writer ${all.findIndex((answer) => answer.status === 200)}`, now, lines: lines.slice(1).sort(), late, gone };
        })()",
    );
    let expected = serde_json::json!({
        "statuses": [200, 412, 412, 412, 412, 412], "kept": true, "now": [200, 200, 200, 200],
        "lines": ["line 0", "line 1", "line 2", "line 3"], "late": [412, 404], "gone": 412,
    });
    assert_eq!(found, expected);
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

/// What is published is drawn by what it is, and a program is asked.
fn messages(browser: &mut Browser, up: &Up) {
    const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mO4UyGCFTEMLQkAXNVaAdgsWmEAAAAASUVORK5CYII=";
    browser.evaluate("location.hash = '#/messages/site/%23'");
    browser.until(
        "document.querySelector('.screen-messages .facts').textContent.includes('Listening to site/#')",
    );
    let topic = "document.querySelector('input[placeholder=\"site/hall/light\"]')";
    let payload = "document.querySelectorAll('.screen-messages textarea')[0]";
    browser.evaluate(&format!(
        "{topic}.value = 'site/hall'; {payload}.value = '{{\"celsius\":21.5,\"at\":[1,2]}}'"
    ));
    browser.click_text(".screen-messages button", "Publish");
    browser.until("document.querySelector('.message pre')?.textContent.includes('21.5')");
    browser.evaluate(&format!(
        "fetch('/api/v1/messages?topic=site/camera', {{ method: 'POST', body: Uint8Array.from(atob('{PICTURE}'), (one) => one.charCodeAt(0)) }})"
    ));
    browser.until("document.querySelector('.message img')?.naturalWidth === 8");
    let calc = [
        "run",
        "calc",
        "--name",
        "hall",
        "--allow-serve",
        "calc",
        "--",
        "serve",
        "calc",
    ];
    up.command(&calc);
    let deadline = std::time::Instant::now() + chromium::LIMIT;
    while !up.command(&["services"]).stdout.contains("service/calc") {
        assert!(std::time::Instant::now() < deadline, "nobody serves calc");
    }
    browser.evaluate("document.querySelector('input[list]').dispatchEvent(new Event('focus'))");
    browser.until("document.querySelector('#addresses option[value=\"service/calc\"]')");
    browser.evaluate(
        "document.querySelector('input[list]').value = 'service/calc'; document.querySelector('input[placeholder=add]').value = 'double'; \
         document.querySelectorAll('.screen-messages textarea')[1].value = '21'",
    );
    browser.click_text(".screen-messages button", "Call");
    browser
        .until("document.querySelector('.screen-messages form > pre:not([hidden])')?.textContent === '42'");
    browser.pictures("messages-heard");
    browser.check_names("messages");
}

/// A program's own page is opened from what is known of it, goes on where the program goes, and orders
/// nothing.
fn pages(browser: &mut Browser, up: &Up) {
    let ran = up.command(&[
        "run",
        "web",
        "--name",
        "visitors",
        "--on",
        "local-1",
        "--allow-serve",
        "http",
        "--json",
        "--",
        "Well",
    ]);
    let id = ran.documents()[0]["program"].as_str().unwrap().to_owned();
    let deadline = std::time::Instant::now() + chromium::LIMIT;
    while !up.command(&["services"]).stdout.contains("service/http") {
        assert!(std::time::Instant::now() < deadline, "nobody serves http");
    }
    let ours = browser.evaluate("location.origin");
    let ours = ours.as_str().unwrap();
    browser.evaluate(&format!("location.hash = '#/program/{id}'"));
    let link = "document.querySelector('.screen-program a[href^=\"/r/\"]')";
    browser.until(link);
    browser.pictures("program-page");
    let errors = browser.errors();
    assert!(errors.is_empty(), "{errors:#?}");
    // In this tab.
    browser.evaluate(&format!("({link}.target = '', {link}.click())"));
    browser.until(&format!(
        "document.title === 'Well' && location.origin !== '{ours}'"
    ));
    browser.evaluate("document.querySelector('input[name=line]').value = 'hello'");
    browser.click_text("button", "Write");
    browser.until("document.querySelector('li')?.textContent === 'hello'");
    up.command(&["move", "visitors", "--to", "local-2"]);
    browser.evaluate("location.reload()");
    browser.until("document.body.innerText.includes('On local-2') && document.querySelector('li').textContent === 'hello'");
    let reads = format!(
        "fetch('{ours}/api/v1/programs', {{ credentials: 'include' }}).then(() => true, () => false)"
    );
    assert_eq!(
        browser.evaluate(&reads),
        false,
        "a program's page reads the fleet"
    );
    browser.evaluate(&holding(ours));
    assert!(!is_held(up), "a program's page has held the fleet");
    // The browser says that it was refused.
    browser.errors();
    browser.open(&format!("{ours}/#/fleet"));
    browser.until("document.querySelector('.card')");
    up.command(&["kill", "visitors"]);
}

/// Simulated devices are set, and seen; their engine is lost, and that is seen.
fn devices(browser: &mut Browser, up: &Up, folder: &Path) {
    let settings = folder.join("engine.toml");
    let device = |alias, kind| format!("[devices.{alias}]\nkind = \"{kind}\"\nbackend = \"simulated\"\n");
    let text = [
        device("button", "gpio-in"),
        device("lamp", "gpio-out"),
        device("warmth", "adc"),
    ]
    .concat();
    std::fs::write(&settings, text).unwrap();
    let (settings, data) = (settings.to_str().unwrap(), folder.join("bench"));
    // As `up` tells its own engines.
    let login = folder.join("up/login");
    let arguments = [
        "engine",
        "--id",
        "bench",
        "--config",
        settings,
        "--hand-over",
        "0",
    ];
    let arguments = [
        &arguments[..],
        &[
            "--broker",
            &up.broker,
            "--data",
            data.to_str().unwrap(),
            "--broker-login",
            login.to_str().unwrap(),
        ],
    ]
    .concat();
    let quiet = |arguments: &[&str]| command(&up.broker, arguments).stderr(Stdio::null()).spawn();
    let engine = Process(quiet(&arguments).unwrap());
    browser.evaluate("location.hash = '#/devices'");
    let of = |device: &str| format!("document.querySelector('[data-engine=bench] tr[data-device={device}]')");
    browser.until(&format!(
        "{}?.querySelector('.gives').textContent === 'off'",
        of("button")
    ));
    browser.click(&format!("{}.querySelector('button')", of("button")));
    browser.until(&format!(
        "{}.querySelector('.gives').textContent === 'on'",
        of("button")
    ));
    browser.evaluate(&format!("{}.querySelector('input').value = '21.5'", of("warmth")));
    browser.click(&format!("{}.querySelector('form button')", of("warmth")));
    browser.until(&format!(
        "{}.querySelector('.gives').textContent.includes('21.5')",
        of("warmth")
    ));
    browser.pictures("devices-set");
    browser.check_names("devices");
    browser.evaluate("location.hash = '#/fleet'");
    browser.until("document.querySelector('.card[data-engine=bench] .badge.ok')");
    drop(engine);
    browser.until("document.querySelector('.card[data-engine=bench] .badge.bad')");
    browser.pictures("fleet-lost");
}

fn holding(address: &str) -> String {
    format!(
        "fetch('{address}/api/v1/hold', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}).then(() => 0, () => 0)"
    )
}

fn is_held(up: &Up) -> bool {
    run(&up.broker, &["run", "primes", "--dry-run"])
        .stderr
        .contains("held")
}

/// A page of another origin gives no orders, though the browser has our cookie.
fn requests_from_elsewhere(browser: &mut Browser, up: &Up) {
    let ours = browser.evaluate("location.origin");
    let ours = ours.as_str().unwrap();
    let errors = browser.errors();
    assert!(errors.is_empty(), "{errors:#?}");
    browser.navigate("about:blank");
    // What is answered it may not read, whatever that is.
    browser.evaluate(&holding(ours));
    assert!(!is_held(up), "a page of another origin has held the fleet");
    // The browser says that it was refused.
    browser.errors();
    browser.open(&format!("{ours}/#/fleet"));
    browser.until("document.querySelector('.card')");
    browser.evaluate(&holding(""));
    assert!(is_held(up), "nor can our own page");
    up.command(&["release"]);
}

/// The page of a dispatcher that is killed says so, and goes on by itself when there is one again.
#[test]
fn a_page_goes_on_when_its_dispatcher_was_killed() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let arguments = [
        "up",
        "--json",
        "--port",
        "0",
        "--no-dispatcher",
        "--no-http",
        "--data",
    ];
    let mut fleet = command("", &[&arguments[..], &[&path("up")]].concat());
    let mut fleet = Process(fleet.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut output = BufReader::new(fleet.0.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let announced: serde_json::Value = serde_json::from_str(&line).unwrap();
    let broker = announced["broker"].as_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let dispatcher = || {
        let (data, address) = (path("dispatcher"), address.as_str());
        let mut command = command(broker, &["dispatcher", "--data", &data, "--http", address]);
        Process(command.stderr(Stdio::null()).spawn().unwrap())
    };
    let killed = dispatcher();
    let token = folder.path().join("dispatcher/http-token");
    let deadline = std::time::Instant::now() + chromium::LIMIT;
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(std::time::Instant::now() < deadline, "HTTP is not served");
        std::thread::yield_now();
    }
    let token = std::fs::read_to_string(token).unwrap();
    browser.open(&format!("http://{address}/?token={}", token.trim()));
    browser
        .until("document.querySelector('.card') && document.querySelector('#link').textContent === 'Live'");
    browser.evaluate("window.isTheSame = true");
    drop(killed);
    browser.until("document.querySelector('#link').textContent.startsWith('Connection lost')");
    // That nobody answers is what its console says.
    browser.errors();
    let _again = dispatcher();
    browser.until("document.querySelector('#link').textContent === 'Live'");
    assert_eq!(run(broker, &["run", "primes"]).exit, 0);
    browser.until(&chip("local-1", "running"));
    assert!(browser.is("window.isTheSame"), "the page was loaded again");
}

#[test]
fn people_sign_in_over_https_run_source_text_and_sign_out() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/mosquitto/certificates");
    let made = std::process::Command::new(script)
        .args([&path("tls"), "127.0.0.1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::write(path("login"), "ann:correct horse\n").unwrap();
    std::fs::set_permissions(path("login"), PermissionsExt::from_mode(0o600)).unwrap();
    let (cert, key, login) = (path("tls/broker.pem"), path("tls/broker.key"), path("login"));
    let http = [
        "--http",
        "127.0.0.1:0",
        "--http-cert",
        &cert,
        "--http-key",
        &key,
        "--http-login",
        &login,
    ];
    let up = Up::start_with(&folder.path().join("up"), 1, &http);
    let link = up.announced["http"].as_str().unwrap();
    let page = link.split('?').next().unwrap();
    assert!(page.starts_with("https://"), "{page}");
    browser.believe_all_certificates();
    browser.open(page);
    browser.until("document.querySelector('.door [name=password]')");
    browser.pictures("sign-in");
    browser.check_names("sign-in");
    browser.type_into("document.querySelector('.door [name=user]')", "ann");
    browser.type_into("document.querySelector('.door [name=password]')", "a wrong guess");
    browser.click_text("button", "Sign in");
    browser.until("document.querySelector('.door .error').textContent.includes('another one')");
    browser.evaluate("document.querySelector('.door [name=password]').value = ''");
    browser.type_into("document.querySelector('.door [name=password]')", "correct horse");
    browser.key("Enter");
    browser.until("document.querySelectorAll('.card .badge.ok').length === 1");
    assert_eq!(
        browser.evaluate("document.cookie"),
        "",
        "a script can read the token"
    );
    // That it was refused is what its console says.
    browser.errors();

    // A program in JavaScript, as it is dropped: at first without what it declares.
    browser.evaluate("location.hash = '#/run'");
    browser.until("document.querySelector('form .drop')");
    let text = "/*things.meta\noutputs:\n  - { topic: site/lamp, type: application/json }\n*/\nsetTimeout(() => {}, 1e8);\n";
    let dropped = serde_json::Value::from(text);
    browser.evaluate(&format!(
        "(() => {{ const data = new DataTransfer(); data.items.add(new File([{dropped}], 'lamp.js'));          document.querySelector('form').dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, cancelable: true, bubbles: true }})); }})()"
    ));
    browser.until("document.querySelector('form .drop').textContent.includes('lamp.js')");
    browser.click_text("form button", "Run");
    browser.until("document.body.innerText.includes('lamp.js declares that it wants to')");
    browser.evaluate("document.querySelector('[name=allow_declared]').checked = true");
    browser.click_text("form button", "Run");
    browser.until("location.hash.startsWith('#/program/')");
    browser.until("document.querySelector('h1')?.textContent.includes('lamp')");
    browser.errors();
    browser.click_text("button", "Sign out");
    browser.until("document.querySelector('.door [name=password]')");
    browser.navigate(page);
    browser.until("document.querySelector('.door [name=password]')");
}
