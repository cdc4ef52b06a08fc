//! JavaScript as people run it: `wayfare run app.js`. One fleet for all of it, since the runtime is compiled
//! on each engine first.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use support::{Process, User, command};

/// Goes on until it was moved twice in a `while` loop that never waits, and twice more between timers. What
/// it says then holds only if nothing of its state was lost.
const TRAVELS: &str = r#"
const wayfare = require('wayfare');
const step = (x) => (Math.imul(x, 1664525) + 1013904223) >>> 0;
let [x, steps] = [1, 0];
const words = new Map();
while (steps % 500 !== 0 || wayfare.me().moves < 2) {
  x = step(x);
  words.set(x % 97, `w${x}`);
  steps++;
}
// As many steps at once: they may be those of minutes.
let again = 1;
for (let [n, factor, more] = [steps, 1664525, 1013904223]; n > 0; n = Math.floor(n / 2)) {
  if (n % 2 === 1) again = (Math.imul(again, factor) + more) >>> 0;
  more = (Math.imul(more, factor) + more) >>> 0;
  factor = Math.imul(factor, factor);
}
console.log(again === x, words.size <= 97, words.get(x % 97) === `w${x}`);

const order = [];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
(async () => {
  while (wayfare.me().moves < 4) {
    await sleep(2);
    order.push('timer');
    process.nextTick(() => order.push('tick'));
    await null;
    order.push('job');
  }
  await sleep(1);
  const rounds = order.length / 3;
  console.log(order.join() === Array(rounds).fill('timer,job,tick').join());
})();
"#;

const PRODUCER: &str = r#"
const { Pubsub } = require('things-js');
const pubsub = new Pubsub('mqtt://anywhere');
let n = 0;
pubsub.on('ready', () => {
  const timer = setInterval(() => pubsub.publish('numbers', { n: ++n, text: 'grüße' }), 20);
  pubsub.subscribe('end', (message) => {
    console.log('ends with', message);
    clearInterval(timer);
    pubsub.kill();
  });
});
"#;

const CONSUMER: &str = r#"/*things.meta
inputs:
  - { topic: +, type: application/json }
outputs: { done: end }
*/
const { Pubsub, GFS } = require('things-js');
const wayfare = require('wayfare');
const pubsub = new Pubsub();
let [first, seen] = [undefined, 0];
pubsub.subscribe('+', async (message, topic, raw) => {
  first ??= message.n;
  if (message.n !== first + seen) console.log('lost or doubled', message.n);
  if (++seen < 5 || wayfare.me().moves < 3) return;
  await pubsub.kill();
  console.log(topic, message.text, Buffer.isBuffer(raw));
  await pubsub.publish('end', 'enough');
  GFS('mongodb://anywhere').readFile('/no', (error) => console.log(error.code));
});
"#;

/// As programs for ThingsJS are: what it reads and writes is declared behind another comment, as topics with
/// their media types.
const DETECTOR: &str = r#"/* Tells whether a picture is another one than that before it.
 */
/*things.meta
inputs:
  camera/raw: image/png
outputs:
  camera/last: image/png
  camera/alarm: application/json
*/
var things = require('things-js');
var GFS = require('things-js').GFS('mongodb://localhost:27017/things-js-fs');

var pubsub = new things.Pubsub('mqtt://localhost');
var before;

pubsub.on('ready', function () {
  pubsub.getInputPipe('camera/raw').pipe(pubsub.getOutputPipe('camera/last'));
  pubsub.subscribe('camera/raw', function (frame, topic, raw) {
    if (before !== undefined) pubsub.publish('camera/alarm', frame.equals(before) ? 'same' : 'other');
    before = raw;
  }).then(files);
});

function files() {
  GFS.writeFile('/first', 'text', function (error) {
    GFS.copyFile('/first', '/second', function (error) {
      GFS.createReadStream('/second').pipe(GFS.createWriteStream('/third')).on('finish', function () {
        GFS.rename('/third', '/fourth', function (error) {
          GFS.exists('/third', function (is) {
            GFS.readFile('/fourth', function (error, content) {
              GFS.mkdir('/fourth', function (error) {
                console.log(is, String(content), error instanceof Error, error.code);
              });
            });
          });
        });
      });
    });
  });
}
"#;

const CAMERA: &str = r#"
import wayfare from 'wayfare';
const [pictures, alarms] = [wayfare.subscribe('camera/last'), wayfare.subscribe('camera/alarm')];
await Promise.all([pictures.ready, alarms.ready]);
const kept = [];
for (const picture of [[0x89, 80], [0x89, 80], [0x89, 81]]) {
  await wayfare.publish('camera/raw', Uint8Array.from(picture));
  kept.push((await pictures.next()).value.payload[1]);
}
console.log(kept.join(), (await alarms.next()).value.text, (await alarms.next()).value.text);
"#;

/// As a compiler of TypeScript writes it, with a map that says where its one line is from: line 12 of
/// `source.ts`.
const MAPPED: &str = "throw new RangeError('mapped');\n//# sourceMappingURL=mapped.js.map\n";
const MAP: &str = r#"{"version":3,"sources":["src/source.ts"],"names":[],"mappings":"AAWA"}"#;

const PROVIDER: &str = r#"
const wayfare = require('wayfare');
wayfare.serve('calc', async (call) => {
  await null;
  if (call.function === 'pass') return call.handOn('service/calc', 'double', call.text);
  if (call.function === 'slow') {
    for (const part of ['one', 'two']) await call.progress(part);
    await new Promise((resolve) => call.onCancel(resolve));
    return console.log('cancelled', call.isCancelled);
  }
  if (call.function !== 'double') throw Object.assign(new Error('there is double'), { kind: 'not-found' });
  return String(2 * call.text);
}, { schema: { functions: { double: { arguments: { type: 'integer' }, result: { type: 'integer' } }, slow: { progress: { type: 'string' } } } } }).then(() => console.log('serves'));
wayfare.listen(async (message) => {
  console.log(message.type, message.text);
  if (message.text === 'bread') process.exit();
  await message.handled();
}, { order: true });
"#;

/// Node's `http`.
const SERVER: &str = r#"
const http = require('http');
let asked = 0;
http.createServer(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  response.setHeader('x-asked', ++asked);
  response.writeHead(request.url === '/' ? 200 : 404, { 'content-type': 'text/plain' });
  response.end(`${request.method} ${request.url} ${request.headers['x-a']} ${body}`);
}).listen(80, () => console.log('listens'));
"#;

/// What comes is sorted by rules, wherever it waits.
const KITCHEN: &str = r#"
import { Mailbox, listen, serve } from 'wayfare';
const mailbox = new Mailbox();
mailbox.rules.main.push(
  { type: 'order', fields: { '/table': 4, '/dishes/0': 'soup' }, queue: 'terrace' },
  { type: 'order', queue: 'orders' },
  { function: '+', list: 'calls' },
);
mailbox.rules.calls = [{ function: 'count', queue: 'questions' }];
await listen(mailbox.handler);
await serve('kitchen', mailbox.handler);
const { message: question } = await mailbox.receive('questions');
console.log(mailbox.waiting('terrace'), mailbox.waiting('orders'), mailbox.takeUndelivered().why);
mailbox.rules.main = [{ address: 'service/+', queue: 'all' }];
mailbox.sortAgain();
for (let left = 4; left > 0; left--) {
  const { queue, message } = await mailbox.receive(['orders', 'all']);
  console.log(queue, message.json().table);
}
question.answer('4');
console.log(await mailbox.receive('all', { timeout: 10 }).catch((error) => error.kind));
"#;

const GUEST: &str = r#"
import { call, send } from 'wayfare';
for (const [table, dish] of [[4, 'soup'], [5, 'soup'], [4, 'bread'], [4, 'soup']]) {
  await send('service/kitchen', JSON.stringify({ table, dishes: [dish] }), { type: 'order', receipt: true });
}
await call('service/kitchen', 'cook').catch((error) => console.log(error.kind, error.reason));
"#;

const CALLER: &str = r#"
import { call, send } from 'wayfare';
import { Calc } from './calc.ts';
console.log(await new Calc().double(21));
const doubled = await Promise.all(['1', '20', '3'].map((number) => call('service/calc', 'double', number)));
console.log(doubled.join());
await call('service/calc', 'half', '1').catch((error) => console.log(error.kind, error.reason));
console.log(String(await call('service/calc', 'pass', '4')));
const controller = new AbortController();
const parts = [];
const onProgress = (part) => parts.push(String(part)) === 2 && controller.abort();
const slow = (options) => call('service/calc', 'slow', '', { coalesce: 'one', onProgress, ...options }).catch((error) => error.kind);
console.log(await slow({ signal: controller.signal }), parts.join(), await slow({ signal: AbortSignal.abort() }));
const order = { type: 'order', order: 'table-4' };
await send('service/calc', 'soup', { ...order, receipt: true, expires: 60_000 });
await send('service/calc', 'bread', order);
"#;

const MODULE: &str = r#"
import wayfare, { WayfareError } from 'wayfare';
import { join } from 'node:path';
import { late } from './part.mjs';
import data from './data.json' with { type: 'json' };
import small from 'small';

console.log(process.argv.slice(2), join('a', '..', 'b'), late, data, small.name);
await wayfare.set('key', new Uint8Array([255, 1]));
const { value, version } = await wayfare.get('key');
console.log(value, version, await wayfare.get('other'));
await wayfare.compareAndSet('key', 'x', 7).catch((error) => console.log(error.kind, error.version));
await wayfare.publish('forbidden', 'x').catch((error) => console.log(error instanceof WayfareError, error.kind));

const questions = wayfare.subscribe('questions');
await questions.ready;
const reply = wayfare.request('questions', 'why');
for await (const message of questions) {
  await message.reply(`${message.text}?`);
  break;
}
console.log((await reply).toString());
"#;

/// Of what Node has beside its language, and TypeScript; with expectations that Node fulfils.
const TOOLS: &str = r#"
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Pubsub } from 'things-js';
import type { Nothing } from './nowhere';
import { Level, type Reading } from './level.js';

interface Line { text: string; at?: number }
const lines: Line[] = [];
for await (const text of createInterface({ input: process.stdin })) lines.push({ text } satisfies Line);
console.log(lines, Level.High);

const upper = new Transform({ transform: (chunk, _, done) => done(null, String(chunk).toUpperCase()) });
await pipeline(lines.map((line) => line.text), upper, createWriteStream('/tmp/out'));
const read: string[] = [];
for await (const chunk of createReadStream('/tmp/out', { start: 1, encoding: 'utf8' })) read.push(chunk as string);
console.log(readFileSync('/tmp/out', 'utf8'), read.join(''));

console.log(createHash('sha256').update('grüße').digest('hex').slice(0, 8), createHmac('md5', 'k').update('x').digest('base64'));
console.log(randomUUID().length);
const url = new URL('../x?a=1#h', 'https://exämple.org:8080/p/q/r');
url.searchParams.append('b', '& =');
console.log(url.href);

const pubsub = new Pubsub();
const pipe = pubsub.getInputPipe('numbers');
pubsub.getOutputPipe('numbers').end(JSON.stringify({ n: 1 } as Reading));
for await (const message of pipe) {
  console.log(JSON.parse(message));
  break;
}
function fail(level: Level): never {
  throw new RangeError(`level ${level}`);
}
fail(Level.Low);
"#;

/// What recurses ends with an error that a program can catch, and not before some thousand levels.
const DEPTH: &str = r#"
const nested = (n) => {
  let a = [];
  for (let i = 0; i < n; i++) a = [a];
  return a;
};
const ends = [
  (n) => JSON.stringify(nested(n)),
  (n) => JSON.parse('['.repeat(n)),
  (n) => new Function('['.repeat(n)),
  (n) => new Function('`${'.repeat(n)),
  (n) => structuredClone(nested(n)),
  (n) => String(nested(n)),
].map((deep) => {
  try {
    return deep(100_000);
  } catch (error) {
    return error.name;
  }
});
console.log(ends.join(' ') + ' ');
let depth = 0;
(function go() {
  depth++;
  if (depth < 2500) go();
})();
try {
  (function go() {
    depth++;
    go();
  })();
} catch (error) {
  console.log(2500, error instanceof RangeError && depth > 5000);
}
console.log(JSON.stringify(nested(5000)).length, new Function(`return ${'['.repeat(2000)}${']'.repeat(2000)}`)().length);
"#;

impl User {
    fn folder_of(path: &str) -> &str {
        Path::new(path).parent().unwrap().to_str().unwrap()
    }

    fn starts(&self, path: &str, more: &[&str]) -> String {
        let started = self.types(
            0,
            &[&["run", path, "--json", "--timeout", "300s"][..], more].concat(),
        );
        started.documents()[0]["program"].as_str().unwrap().to_owned()
    }

    fn moves(&self, program: &str, to: &str) {
        self.types(0, &["move", program, "--to", to, "--timeout", "300s"]);
    }

    /// Its lines as they come, and what shows them.
    fn follows(&self, program: &str, stream: &str) -> (Process, Lines<BufReader<ChildStdout>>) {
        let arguments = ["logs", program, "--follow", "--stream", stream];
        let mut logs = command(&self.up.broker, &arguments);
        let mut logs = Process(logs.stdout(Stdio::piped()).spawn().unwrap());
        let stdout = logs.0.stdout.take().unwrap();
        (logs, BufReader::new(stdout).lines())
    }

    /// What it prints to its end, which is a good one.
    fn prints(&self, program: &str) -> String {
        self.types(0, &["logs", program, "--follow", "--stream", "stdout"])
            .stdout
    }

    /// What it prints to its end, which is a bad one.
    fn prints_and_fails(&self, program: &str) -> String {
        self.types(1, &["logs", program, "--follow", "--stream", "stdout"])
            .stdout
    }

    fn fails(&self, name: &str, content: impl AsRef<[u8]>, says: &str) {
        let path = self.file(name, content);
        let ran = self.types(1, &["run", &path, "--follow"]);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        assert!(!ran.stderr.contains("wayfare:internal"), "{}", ran.stderr);
    }
}

/// A program for ThingsJS, unmodified: its declaration, pipes of bytes, and files.
fn things(user: &User) {
    let detector = user.file("detector.js", DETECTOR);
    let checked = user.types(0, &["js", "check", &detector, "--json"]).documents();
    let topics = |what: &str| {
        let ports = checked[0][what].as_array().unwrap().iter();
        ports.map(|port| format!("{}", port["topic"])).collect::<String>()
    };
    assert_eq!(
        (topics("inputs"), topics("outputs")),
        ("\"camera/raw\"".into(), "\"camera/last\"\"camera/alarm\"".into())
    );
    let detector = user.starts(&detector, &["--allow-declared", "--allow-fs", "/fleet:rw"]);
    let (_logs, mut lines) = user.follows(&detector, "stdout");
    assert_eq!(lines.next().unwrap().unwrap(), "false text true EEXIST");
    let camera = user.file("camera.mjs", CAMERA);
    let grants = ["--allow-pub", "camera/raw", "--allow-sub", "camera/+"];
    let camera = user.starts(&camera, &grants);
    assert_eq!(user.prints(&camera), "80,80,81 \"same\" \"other\"\n");
    user.types(0, &["kill", &detector]);
}

/// Those of `samples/javascript` that need no more than a broker.
fn samples(user: &User) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/javascript");
    let sample = wayfare_samples::find("factorial").unwrap();
    let arguments = [&["--"], sample.quick_args].concat();
    let factorial = user.starts(&format!("{folder}/factorial.js"), &arguments);
    let motion = user.starts(
        &format!("{folder}/motion.js"),
        &["--allow-declared", "--on", "local-1"],
    );
    let (_logs, mut lines) = user.follows(&motion, "stderr");
    assert_eq!(lines.next().unwrap().unwrap(), "watches");
    let camera = user.starts(&format!("{folder}/camera"), &["--allow-declared", "--", "250"]);
    // While pictures come.
    user.moves(&motion, "local-2");
    assert_eq!(user.prints(&camera), "16 frames\n");
    let printed = user.prints(&motion);
    // A square of 10 x 8 crosses the picture, and leaves it at its edges.
    assert!(
        printed.starts_with("frame 3: 80 pixels changed, from 0,11 to 9,18\n"),
        "{printed}"
    );
    assert!(printed.ends_with("\n11 of 16 frames with motion\n"), "{printed}");
    assert_eq!(user.prints(&factorial), sample.quick_stdout);
}

/// The queue of work in JavaScript, whose workers and giver are moved meanwhile, one of whom leaves.
fn jobs(user: &User) {
    const JOBS: u64 = 40;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/javascript/jobs.js");
    let works = |on: &str| {
        let arguments = ["--on", on, "--allow-serve", "steps", "--", "work", "steps"];
        let worker = user.starts(path, &arguments);
        let (_logs, mut lines) = user.follows(&worker, "stdout");
        assert_eq!(lines.next().unwrap().unwrap(), "works");
        worker
    };
    let workers = [works("local-1"), works("local-2"), works("local-1")];
    let count = JOBS.to_string();
    let grants = ["--on", "local-2", "--allow-call", "service/steps"];
    let gives = [&grants[..], &["--", "give", "service/steps", &count]].concat();
    let gives = user.starts(path, &gives);
    // It ends with its last job, so nobody works meanwhile; its calls are open.
    let moves_giver = |to: &str| {
        let [first, second, third] = &workers;
        user.types(0, &["pause", first, second, third]);
        user.moves(&gives, to);
        user.types(0, &["resume", first, second, third]);
    };
    let (_logs, mut lines) = user.follows(&gives, "stdout");
    let mut sum = 0;
    for job in 1..=JOBS {
        let next = |number: &u64| match *number {
            1 => None,
            number if number.is_multiple_of(2) => Some(number / 2),
            number => Some(3 * number + 1),
        };
        let steps = |number: u64| std::iter::successors(Some(number), next).count() as u64 - 1;
        sum += (200 * (job - 1) + 1..=200 * job).map(steps).sum::<u64>();
        assert_eq!(lines.next().unwrap().unwrap(), format!("job {job}: {sum}"));
        match job {
            2 => moves_giver("local-1"),
            4 => moves_giver("local-2"),
            6 => user.moves(&workers[0], "local-2"),
            9 => user.moves(&workers[1], "local-1"),
            12 => drop(user.types(0, &["kill", &workers[2]])),
            15 => user.moves(&workers[0], "local-1"),
            _ => {}
        }
    }
    assert!(lines.next().is_none());
    user.types(0, &["kill", &workers[0], &workers[1]]);
}

/// What the gateway calls it with, where it is and where it goes.
fn answers_http(user: &User) {
    let server = user.file("server.js", SERVER);
    let server = user.starts(&server, &["--allow-serve", "http", "--on", "local-1"]);
    let (_logs, mut lines) = user.follows(&server, "stdout");
    assert_eq!(lines.next().unwrap().unwrap(), "listens");
    let called = |request: &str| {
        let ran = user.types(0, &["call", "service/http", "http", request, "--raw"]);
        ran.stdout.trim_end().to_owned()
    };
    assert_eq!(
        called("POST /a?b HTTP/1.1\r\nX-A: 1\r\n\r\nbody"),
        "HTTP/1.1 404 Not Found\r\nx-asked: 1\r\ncontent-type: text/plain\r\n\r\nPOST /a?b 1 body"
    );
    user.moves(&server, "local-2");
    assert_eq!(
        called("GET / HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nx-asked: 2\r\ncontent-type: text/plain\r\n\r\nGET / undefined"
    );
    let refused = user.types(1, &["call", "service/http", "http", "no request", "--raw"]);
    assert!(
        refused.stderr.contains("it is no request of HTTP/1.1"),
        "{}",
        refused.stderr
    );
    user.types(0, &["kill", &server]);
}

#[test]
fn programs_in_javascript_run_and_move_as_they_are_written() {
    let user = User::new();
    let travels = user.file("travels.js", TRAVELS);
    let program = user.starts(&travels, &["--on", "local-1"]);
    user.moves(&program, "local-2");
    user.moves(&program, "local-1");
    let (_logs, mut lines) = user.follows(&program, "stdout");
    assert_eq!(lines.next().unwrap().unwrap(), "true true true");
    user.moves(&program, "local-2");
    user.moves(&program, "local-1");
    assert_eq!(lines.next().unwrap().unwrap(), "true");
    assert!(lines.next().is_none());

    let producer = user.file("producer.js", PRODUCER);
    let consumer = user.file("consumer.js", CONSUMER);
    let refused = user.types(1, &["run", &consumer]);
    assert!(
        refused.stderr.contains("subscribe to + and publish to end"),
        "{}",
        refused.stderr
    );
    let consumer = user.starts(&consumer, &["--allow-declared"]);
    let inspected = user.types(0, &["inspect", &consumer, "--json"]).documents();
    let declared = serde_json::json!({
        "inputs": [{ "topic": "+", "media_type": "application/json" }], "outputs": [{ "topic": "end" }],
    });
    assert_eq!(inspected[0]["ports"], declared);
    let listed = user.types(0, &["ps", "-o", "wide"]).stdout;
    assert!(listed.contains("+ (application/json)"), "{listed}");
    user.moves(&consumer, "local-2");
    let inspected = user.types(0, &["inspect", &consumer]).stdout;
    let says = |words: [&str; 2]| inspected.lines().any(|line| line.split_whitespace().eq(words));
    assert!(
        says(["engine", "local-2"]) && says(["output", "end"]),
        "{inspected}"
    );
    let producer = user.starts(&producer, &["--allow-pub", "numbers", "--allow-sub", "end"]);
    // In the middle of its messages, of which it names any that is lost or doubled.
    user.moves(&consumer, "local-1");
    user.moves(&consumer, "local-2");
    assert_eq!(user.prints(&producer), "ends with enough\n");
    assert_eq!(user.prints(&consumer), "numbers grüße true\nEACCES\n");

    things(&user);
    samples(&user);
    jobs(&user);
    answers_http(&user);
    let provider = user.file("provider.js", PROVIDER);
    let called = ["--allow-serve", "calc", "--allow-call", "service/calc"];
    let provider = user.starts(&provider, &called);
    let (_log, mut lines) = user.follows(&provider, "stdout");
    assert_eq!(lines.next().unwrap().unwrap(), "serves");
    let client = user.types(0, &["service", "stub", "calc", "--lang", "ts"]).stdout;
    user.file("caller/calc.ts", &client);
    let caller = user.file("caller/main.mjs", CALLER);
    let caller = user.starts(User::folder_of(&caller), &["--allow-call", "service/calc"]);
    let asked = "42\n2,40,6\nnot-found there is double\n8\ncancelled one,two cancelled\n";
    assert_eq!(user.prints(&caller), asked);
    assert_eq!(
        user.prints(&provider),
        "serves\ncancelled true\norder soup\norder bread\n"
    );

    let kitchen = user.file("kitchen.mjs", KITCHEN);
    let kitchen = user.starts(&kitchen, &["--on", "local-2", "--allow-serve", "kitchen"]);
    let guest = user.file("guest.mjs", GUEST);
    let guest = user.starts(&guest, &["--allow-call", "service/kitchen"]);
    assert_eq!(user.prints(&guest), "refused no rule of the mailbox fits it\n");
    // With what waits in its queues.
    user.moves(&kitchen, "local-1");
    user.moves(&kitchen, "local-2");
    let counted = user.types(0, &["call", "service/kitchen", "count"]);
    assert_eq!(counted.stdout, "4\n");
    let sorted = "2 2 no rule of the mailbox fits it\nall 4\nall 5\nall 4\nall 4\ntimeout\n";
    assert_eq!(user.prints(&kitchen), sorted);

    user.file(
        "tool/part.mjs",
        "export const late = await Promise.resolve('late');\n",
    );
    user.file("tool/data.json", "{ \"some\": [1] }\n");
    user.file("tool/node_modules/small/package.json", "{ \"main\": \"lib\" }");
    user.file(
        "tool/node_modules/small/lib/index.js",
        "exports.name = require('./name');",
    );
    user.file("tool/node_modules/small/lib/name.js", "module.exports = 'small';");
    let main = user.file("tool/main.mjs", MODULE);
    let grants = [
        "--allow-sub",
        "questions",
        "--allow-pub",
        "questions",
        "--",
        "one",
    ];
    let program = user.starts(User::folder_of(&main), &grants);
    let expected = "[ 'one' ] b late { some: [ 1 ] } small\n<Buffer ff 01> 1 undefined\nconflict 1\ntrue not-granted\nwhy?\n";
    assert_eq!(user.prints(&program), expected);

    user.file(
        "tools/level.ts",
        "export enum Level { Low = 1, High }\nexport type Reading = { n: number };\n",
    );
    let main = user.file("tools/main.mts", TOOLS);
    let input = user.file("input", "one\r\ntwo");
    // Types are nowhere, and the enumeration comes along.
    let checked = user.types(0, &["js", "check", &main, "--json"]).documents();
    assert_eq!(checked[0]["files"], serde_json::json!(["level.ts", "main.mts"]));
    let program = user.starts(
        &main,
        &[
            "--stdin",
            &input,
            "--allow-sub",
            "numbers",
            "--allow-pub",
            "numbers",
        ],
    );
    let expected = "[ { text: 'one' }, { text: 'two' } ] 2\nONETWO NETWO\n8285d1ad RCugeejsYgb39VNNRlPbDw==\n36\n\
        https://xn--exmple-cua.org:8080/p/x?a=1&b=%26+%3D#h\n{ n: 1 }\n";
    assert_eq!(user.prints_and_fails(&program), expected);

    // What `new` writes runs as it is.
    let project = user.path("hello");
    user.types(0, &["new", &project]);
    let program = user.starts(&project, &["--on", "local-2", "--", "1"]);
    assert_eq!(user.prints(&program), "hello 1, from local-2\n");

    user.fails("syntax.js", "let a = 1;\nlet b = ;\n", "at /program/syntax.js:2:");
    user.fails(
        "typed.ts",
        "const a: number = 1;\nlet b: = 2;\n",
        "at /program/typed.ts:2:8",
    );
    user.fails(
        "thrown.js",
        "function f() {\n  throw new TypeError('bad');\n}\nsetTimeout(f, 1);\n",
        "Uncaught TypeError: bad\n    at f (/program/thrown.js:2:",
    );
    user.file("mapped.js.map", MAP);
    user.fails(
        "mapped.js",
        MAPPED,
        "Uncaught RangeError: mapped\n    at <anonymous> (/program/src/source.ts:12:",
    );
    user.fails("fetch.js", "\nfetch('http://x');\n", "'fetch' is not there: ");
    user.fails(
        "missing.js",
        "\nrequire('left-pad');\n",
        "Cannot find module 'left-pad', which /program/missing.js requires",
    );
    user.fails(
        "lacking.js",
        "require('node:https');\n",
        "the module 'node:https' of Node is not there",
    );
    user.fails(
        "rejected.mjs",
        "await Promise.reject(new Error('no'));\n",
        "Uncaught Error: no",
    );
    user.fails(
        "deep.js",
        "function f() { return [1].map(f); }\nf();\n",
        "Maximum call stack size exceeded",
    );
    user.fails(
        "latin.js",
        b"let a;\nlet b = 'gr\xfcn';\n",
        "at /program/latin.js:2\n",
    );
    user.file("addon.node", "");
    user.fails(
        "addon.js",
        "\nrequire('./addon.node');\n",
        "'/program/addon.node' is a native add-on: those cannot be run here\n    at <anonymous> (/program/addon.js:2:",
    );
    user.fails(
        "memory.js",
        "const kept = [];\nfor (;;) kept.push(new Uint8Array(1 << 20));\n",
        "out of memory\n    at <anonymous> (/program/memory.js:2:",
    );
    // Of 10 MB, which takes more memory than that.
    let large = user.file(
        "large.js",
        format!("[{}].length;\n", "'some text',\n".repeat(800_000)),
    );
    let ran = user.types(
        1,
        &["run", &large, "--follow", "--memory", "16M", "--timeout", "90s"],
    );
    let says = "`wayfare run --memory` gives more";
    assert!(
        ran.stderr.contains("out of memory") && ran.stderr.contains(says),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("/program/large.js"), "{}", ran.stderr);
    let small = user.file("small.js", "");
    let refused = user.types(1, &["run", &small, "--memory", "1G"]);
    assert!(refused.stderr.contains("2 lack 1 GiB"), "{}", refused.stderr);

    let circle = user.file(
        "circle.js",
        "exports.early = 1;\nconsole.log(require('./other').seen);\nexports.late = 2;\n",
    );
    user.file(
        "other.js",
        "const circle = require('./circle');\nexports.seen = [circle.early, circle.late];\n",
    );
    let ran = user.types(0, &["run", &circle, "--follow"]);
    assert!(ran.stdout.ends_with("[ 1, undefined ]\n"), "{}", ran.stdout);
    let says = "Warning: /program/circle.js exports no 'late' yet, since it and /program/other.js require each other\n    at /program/other.js:2:";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);

    let deep = user.file("depth.js", DEPTH);
    let ran = user.types(0, &["run", &deep, "--follow"]);
    assert!(ran.stdout.ends_with("2500 true\n10002 1\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&"RangeError ".repeat(6)), "{}", ran.stdout);
}
