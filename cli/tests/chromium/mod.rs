//! A browser: Chromium, told what to do in its own protocol over a pipe. No driver and no library are needed
//! for the few commands that are used; what a page shall come to is waited for in the page itself.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest that anything is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const PROGRAMS: [&str; 2] = ["chromium", "chromium-browser"];

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    scheme: &'static str,
    width: u32,
    height: u32,
}

impl Look {
    const fn new(scheme: &'static str, width: u32, height: u32) -> Self {
        Self {
            scheme,
            width,
            height,
        }
    }

    pub(crate) const ALL: &[Self] = &[
        Self::new("light", 1280, 800),
        Self::new("dark", 1280, 800),
        Self::new("light", 390, 844),
        Self::new("dark", 390, 844),
    ];
}

pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// What went wrong in the page, as it said.
    errors: Vec<String>,
    /// Pictures of a film that is made: its name, and how many there are.
    film: Option<(String, usize)>,
    _folder: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// `None`: there is none on this machine.
    pub(crate) fn start() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let program = PROGRAMS
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|program| program.is_file())?;
        let folder = tempfile::tempdir().unwrap();
        // Its pipe is at 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ])
            .args(["--hide-scrollbars", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                match lines.read_until(0, &mut message) {
                    Ok(count) if count > 0 => {}
                    _ => return,
                }
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            next: 0,
            errors: Vec::new(),
            film: None,
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser.look(&Look::ALL[0]);
        Some(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.ask(method, &params);
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// The answer, which may be an error.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self
                .from
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("{method} {params}: {error}"));
            if answer["id"] == id {
                return answer;
            }
            self.note(&answer);
        }
    }

    /// What is refused on purpose is not the page's error.
    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.errors.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.errors.push(params["args"].to_string())
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                let text = params["entry"]["text"].as_str().unwrap_or_default();
                if !["409", "412", "404", "416"]
                    .iter()
                    .any(|status| text.contains(&format!("status of {status}")))
                {
                    self.errors.push(params["entry"].to_string());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn errors(&mut self) -> Vec<String> {
        // What was on its way is here then.
        self.evaluate("0");
        std::mem::take(&mut self.errors)
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.navigate(address);
        self.until("document.readyState === 'complete' && location.protocol.startsWith('http')");
    }

    /// Wherever it leads.
    pub(crate) fn navigate(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }

    /// The value of an expression, which may be a promise.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].take()
    }

    pub(crate) fn is(&mut self, condition: &str) -> bool {
        self.evaluate(&format!("Boolean({condition})")) == true
    }

    /// Waits in the page until this is so.
    pub(crate) fn until(&mut self, condition: &str) {
        let deadline = Instant::now() + LIMIT;
        let wait = format!(
            "new Promise((done) => {{ const end = performance.now() + 2000; const look = () => {{ let is = false; try {{ is = Boolean({condition}); }} \
             catch {{}} if (is || performance.now() > end) done(is); else setTimeout(look, 15); }}; look(); }})"
        );
        let params = json!({ "expression": wait, "awaitPromise": true, "returnByValue": true });
        // A page that is left answers nothing any more, or says that: so it is asked again.
        while self.ask("Runtime.evaluate", &params)["result"]["result"]["value"] != true {
            let text = "document.body.innerText.slice(0, 3000)";
            assert!(Instant::now() < deadline, "{condition}: {}", self.evaluate(text));
        }
    }

    fn middle(&mut self, element: &str) -> (f64, f64) {
        self.until(element);
        let place = self.evaluate(&format!(
            "(() => {{ const found = {element}; found.scrollIntoView({{ block: 'nearest' }}); const box = found.getBoundingClientRect(); \
             return [box.left + box.width / 2, box.top + box.height / 2]; }})()"
        ));
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), is_down: bool) {
        let params = json!({
            "type": kind, "x": x, "y": y, "button": if is_down || kind == "mouseReleased" { "left" } else { "none" },
            "buttons": u32::from(is_down), "clickCount": 1, "pointerType": "mouse",
        });
        self.call("Input.dispatchMouseEvent", params);
    }

    pub(crate) fn click(&mut self, element: &str) {
        let place = self.middle(element);
        self.mouse("mousePressed", place, true);
        self.mouse("mouseReleased", place, false);
    }

    /// The first of these elements with this text.
    pub(crate) fn click_text(&mut self, elements: &str, text: &str) {
        let element = format!(
            "[...document.querySelectorAll('{elements}')].find((one) => one.textContent === '{text}')"
        );
        self.click(&element);
    }

    /// Drags one element onto another, and lets go when this is so.
    pub(crate) fn drag(&mut self, from: &str, to: &str, when: &str) {
        let (from, to) = (self.middle(from), self.middle(to));
        self.mouse("mousePressed", from, true);
        for step in 1..=8 {
            let part = f64::from(step) / 8.0;
            let place = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            self.mouse("mouseMoved", place, true);
            self.film_on(1);
        }
        self.until(when);
        self.mouse("mouseReleased", to, false);
    }

    /// If pictures are wanted: the drags that follow are filmed, a picture for each step.
    pub(crate) fn film(&mut self, name: &str) {
        self.film = Some((name.to_owned(), 0));
    }

    /// So many more pictures of the film, as fast as they come; `film_end` for the last.
    fn film_on(&mut self, count: usize) {
        let (Some((name, first)), Some(folder)) = (self.film.clone(), screenshots()) else {
            return;
        };
        for number in first..first + count {
            let clip = json!({ "x": 0, "y": 0, "width": 1280, "height": 420, "scale": 0.625 });
            let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "clip": clip }));
            let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}-{number:03}.png")), bytes).unwrap();
        }
        self.film = Some((name, first + count));
    }

    pub(crate) fn film_end(&mut self, count: usize) {
        self.film_on(count);
        self.film = None;
    }

    pub(crate) fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { "\r" } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": 13 }),
            );
        }
    }

    /// As by a keyboard.
    pub(crate) fn type_into(&mut self, element: &str, text: &str) {
        self.click(element);
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Those of an authority that was made a moment ago among them.
    pub(crate) fn believe_all_certificates(&mut self) {
        self.call("Security.setIgnoreCertificateErrors", json!({ "ignore": true }));
    }

    fn look(&mut self, look: &Look) {
        let size =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": look.scheme }] });
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// If pictures are wanted.
    pub(crate) fn pictures(&mut self, name: &str) {
        let Some(folder) = screenshots() else { return };
        for look in Look::ALL {
            self.look(look);
            // As it is drawn after that.
            self.evaluate("new Promise((done) => setTimeout(done, 250))");
            let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
            let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
            let file = folder.join(format!("{name}-{}-{}.png", look.scheme, look.width));
            std::fs::write(file, bytes).unwrap();
        }
        self.look(&Look::ALL[0]);
    }

    /// By the rules of WCAG 2.1 AA, in all looks, where WAYFARE_AXE names the file `axe.min.js` of the npm
    /// package axe-core.
    fn check_rules(&mut self, screen: &str) {
        let Some(path) = std::env::var_os("WAYFARE_AXE") else {
            return;
        };
        let rules = std::fs::read_to_string(path).unwrap();
        // As a script of the page, whose policy lets none in, it would not run.
        self.call("Runtime.evaluate", json!({ "expression": rules }));
        for look in Look::ALL {
            self.look(look);
            // What fades to its new colours is looked at then.
            self.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => {})))");
            let found = self.evaluate(
                "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then((result) => ({ kept: result.passes.length, \
                 broken: result.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target} ${node.html.slice(0, 120)}: \
                 ${node.failureSummary}`)) }))",
            );
            assert_eq!(found["broken"], json!([]), "{screen} {look:?}");
            assert!(
                found["kept"].as_u64() > Some(5),
                "no rule was applied to {screen}: {found}"
            );
        }
        self.look(&Look::ALL[0]);
    }

    /// What can be used has a name for who does not see it, and nothing hangs over the edge of a phone.
    pub(crate) fn check_names(&mut self, screen: &str) {
        let nameless = self.evaluate(
            "[...document.querySelectorAll('button, a[href], input, select, textarea')].filter((one) => !(one.textContent.trim() || \
             one.getAttribute('aria-label') || one.title || [...(one.labels ?? [])].some((label) => label.textContent.trim()))).map((one) => one.outerHTML)",
        );
        assert_eq!(nameless, json!([]), "{screen}");
        self.check_rules(screen);
        self.look(&Look::ALL[2]);
        let over =
            self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        self.look(&Look::ALL[0]);
        assert_eq!(over, 0, "{screen} is wider than a phone");
    }
}

/// Where pictures go, if they are wanted.
fn screenshots() -> Option<PathBuf> {
    let folder = std::env::var_os("WAYFARE_SCREENSHOTS").map(PathBuf::from)?;
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}
