use super::*;
use crate::app::staging::STAGE_MS_MAX;

fn resolved(text: &str) -> Result<Resolved, ManifestError> {
    let make = |path: &str| match path {
        "m.wasm" => Ok(b"\0asm\x01\0\0\0".to_vec().into()),
        "m.py" => Ok(Made {
            args: vec!["/program/m.py".into()],
            env: BTreeMap::from([("A".into(), "1".into()), ("B".into(), "1".into())]),
            memory_bytes: Some(64 << 20),
            folders: BTreeMap::from([(FolderName::Program, b"packed".to_vec())]),
            ports: Ports {
                outputs: vec![Port {
                    topic: "of/source".into(),
                    media_type: None,
                }],
                ..Ports::default()
            },
            ..b"\0asm\x01\0\0\0".to_vec().into()
        }),
        other => Err(format!("{other}: no such file")),
    };
    resolve(text, make, |path| Err(format!("{path}: no such file")))
}

#[test]
fn stages_and_windows_last_as_long_as_they_may() {
    for (text, ms) in [("36h", 129_600_000), ("7d", 604_800_000), ("31d", STAGE_MS_MAX)] {
        let text = format!(
            "name = 'a'\n[update]\nstages = [{{ labels = 'x', wait = '{text}' }}]\nwindow = {{ opens = '0 2 1 * *', for = '{text}' }}\n[component.x]\nmodule = 'm.wasm'"
        );
        let staging = resolved(&text).unwrap().spec.staging;
        assert_eq!(staging.stages[0].wait_ms, Some(ms), "{text}");
        assert_eq!(staging.window.unwrap().for_ms, ms, "{text}");
    }
}

#[test]
fn a_manifest_says_it_all() {
    let text = r#"
        name = "shop"
        [update]
        stages = [{ labels = "stage=canary", wait = "10m" }, { labels = ["stage=early", "zone=a"] }]
        window = { opens = "0 2 * * *", for = "3h" }
        [component.web]
        module = "m.wasm"
        count = 3
        memory = "16M"
        grants = { pub = ["shop/orders"], sub = ["shop/#"], devices = ["till"] }
        labels = ["zone=a", "kind in (x, y)", "battery!=low", "camera"]
        apart-from = ["db", "other/db by host"]
        spread = "label zone"
        checkpoint = "10s"
        restart = { when = "on-failure", backoff = "250ms" }
        update = { at-a-time = 2, within = "1m" }
        health = { within = "30s", every = "10s" }
        [component.db]
        module = "m.wasm"
        pinned = true
        [component.report.cron]
        schedule = "30 3 * * 1-5"
        zone = "Europe/Berlin"
        missed = "once"
        [component.report]
        module = "m.wasm"
        [component.collect]
        module = "m.wasm"
        on = "every-engine"
        labels = ["sensor"]
    "#;
    let Resolved { spec, blobs } = resolved(text).unwrap();
    assert_eq!(blobs.len(), 1);
    assert!(!spec.is_read_by_all());
    let stages: Vec<_> = spec
        .staging
        .stages
        .iter()
        .map(|stage| (stage.labels.len(), stage.wait_ms))
        .collect();
    assert_eq!(stages, [(1, Some(600_000)), (2, None)]);
    let window = spec.staging.window.as_ref().unwrap();
    assert_eq!((window.zone.as_str(), window.for_ms), ("UTC", 3 * 3_600_000));
    let web = &spec.components["web"];
    assert_eq!(
        (web.count, web.memory_bytes, web.checkpoint_ms),
        (3, Some(16 << 20), Some(10_000))
    );
    assert_eq!(
        (web.restart.when, web.restart.backoff_ms),
        (RestartWhen::OnFailure, 250)
    );
    assert!(web.grants.may_publish("shop/orders") && web.grants.may_subscribe("shop/+"));
    assert!(web.constraints.requirements.devices.contains("till"));
    assert!(spec.components["db"].grants.is_empty());
    assert_eq!((web.update.at_a_time, web.update.within_ms), (2, 60_000));
    let health = HealthPolicy {
        within_ms: 30_000,
        every_ms: Some(10_000),
    };
    assert_eq!(
        (web.health, web.program("x".into()).health_every_ms),
        (Some(health), Some(10_000))
    );
    let report = &spec.components["report"];
    let schedule = report.schedule.as_ref().unwrap();
    assert_eq!(
        schedule.to_string(),
        "'30 3 * * 1-5' in Europe/Berlin, missed ones once"
    );
    assert_eq!(
        (report.restart.when, &web.schedule),
        (RestartWhen::OnSchedule, &None)
    );
    let rules: Vec<String> = web
        .constraints
        .requirements
        .labels
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rules, ["battery!=low", "camera", "kind in (x, y)", "zone=a"]);
    let apart: Vec<String> = web
        .constraints
        .apart_from
        .iter()
        .map(|a| format!("{} {}", a.from, a.by))
        .collect();
    assert_eq!(apart, ["other/db host", "shop/db engine"]);
    assert_eq!(spec.components["db"].mobility, Mobility::Pinned);
    let collect = &spec.components["collect"];
    assert_eq!((collect.mobility, collect.count), (Mobility::EveryEngine, 0));
    assert_eq!(
        web.revision(),
        ComponentSpec {
            count: 9,
            ..web.clone()
        }
        .revision()
    );
    // It is told to the program's engine.
    assert_ne!(
        web.revision(),
        ComponentSpec {
            health: None,
            ..web.clone()
        }
        .revision()
    );
    assert_ne!(
        web.revision(),
        ComponentSpec {
            args: vec!["x".into()],
            ..web.clone()
        }
        .revision()
    );
}

#[test]
fn a_program_in_a_language_has_what_the_language_says_and_the_manifest_wins() {
    let text = "
        name = 'a'
        [component.x]
        module = 'm.py'
        args = ['-v']
        env = { B = '2' }
        grants = { sub = ['a/#'] }
        input = [{ topic = 'a/b', media_type = 'text/plain' }]
        [component.y]
        module = 'm.py'
        memory = '8M'
    ";
    assert_eq!(modules(text).unwrap(), BTreeSet::from(["m.py".to_owned()]));
    let Resolved { spec, blobs } = resolved(text).unwrap();
    assert_eq!(blobs.len(), 2, "one interpreter and one source");
    assert!(spec.is_read_by_all());
    let (x, y) = (&spec.components["x"], &spec.components["y"]);
    assert_eq!(x.args, ["/program/m.py", "-v"]);
    assert_eq!((x.env["A"].as_str(), x.env["B"].as_str()), ("1", "2"));
    assert_eq!((x.memory_bytes, y.memory_bytes), (Some(64 << 20), Some(8 << 20)));
    assert_eq!(x.grants.folders[&FolderName::Program], Blob::of(b"packed"));
    assert_eq!(x.blobs().count(), 2);
    assert_ne!(x.revision(), y.revision());
    assert_eq!(x.ports.inputs[0].to_string(), "a/b (text/plain)");
    assert_eq!(x.program("x".into()).ports.inputs.len(), 1);
    assert_eq!(y.ports.outputs[0].topic, "of/source");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, says) in [
        ("", "missing field `name`"),
        ("name = 'a'\n[component]", "0 components"),
        (
            "name = 'a/b'\n[component.x]\nmodule = 'm.wasm'",
            "cannot name an application",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'n.wasm'",
            "component 'x': n.wasm: no such file",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nmemory = '1T'",
            "component 'x': '1T'",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncuont = 1",
            "unknown field `cuont`",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\noutput = [{ topic = 'a', media_type = 'a/b' }]",
            "add it to grants.pub",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncount = 100000",
            "100000 instances",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncron = { schedule = '61 * * * *' }",
            "component 'x': cron: '61' is not a valid minute: 0 to 59",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncron = { schedule = '* * * * *', zone = 'Mars' }",
            "component 'x': cron: 'Mars' is not a time zone",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nrestart = { when = 'never' }\ncron = { schedule = '* * * * *' }",
            "leave out one of them",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nrestart = { when = 'on-schedule' }",
            "there is no schedule",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\non = 'every-engine'\ncount = 2",
            "component 'x': it runs on every engine, and has a count as well",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\non = 'every-engine'\npinned = true",
            "'pinned' too",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nhealth = {}\ncron = { schedule = '* * * * *' }",
            "component 'x': it has health and cron",
        ),
        (
            "name = 'a'\n[update]\nwindow = { opens = '0 2 * * *', for = '1s' }\n[component.x]\nmodule = 'm.wasm'",
            "update.window is open for 1 min to 31 days",
        ),
        (
            "name = 'a'\n[update]\nwindow = '03:00-04:00'\n[component.x]\nmodule = 'm.wasm'",
            "invalid type: string \"03:00-04:00\", expected a table such as { opens = \"0 2 * * mon-fri\"",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncron = '* * * * *'",
            "expected a table such as { schedule = ",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nrestart = 'never'",
            "expected a table such as { when = ",
        ),
        (
            "name = 'a'\n[update]\nstages = [{ labels = 'x', wait = '32d' }]\n[component.x]\nmodule = 'm.wasm'",
            "a stage of update.stages waits for 1 ms to 31 days",
        ),
        (
            "name = 'a'\n[update]\nstages = [{ labels = 'x', wait = '2w' }]\n[component.x]\nmodule = 'm.wasm'",
            "'2w': 'w' is not a unit of time",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\ncheckpoint = '2d'",
            "'2d': 'd' is not a unit of time: use ms, s, m or h",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\non = 'some-engines'",
            "expected `every-engine`",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nhealth = { every = '1ms' }",
            "component 'x': health.every is 1s to 24h",
        ),
        (
            "name = 'a'\n[component.x]\nmodule = 'm.wasm'\nlabels = ['=x']",
            "names no label",
        ),
    ] {
        let error = resolved(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
