use super::*;
use wayfare_protocol::code::SecretKey;

fn key(number: u8) -> PublicKey {
    SecretKey::from_random([number; 32]).public()
}

fn target() -> CodeTarget {
    CodeTarget {
        architecture: "pulley32".into(),
        wasmtime: "1".into(),
        abi: "2".into(),
    }
}

fn module() -> Blob {
    Blob::of(b"module")
}

fn job() -> Job {
    Job {
        module: module(),
        target: target(),
        key: key(1),
    }
}

/// Asks in the name of engine `from`; engines have one operation each.
fn ask(jobs: &mut Jobs, from: &str, keys: &[u8]) -> Vec<Effect> {
    let input = Input::Wanted {
        from: from.parse().unwrap(),
        operation: operation(from),
        module: module(),
        target: target(),
        keys: keys.iter().map(|number| key(*number)).collect(),
    };
    jobs.handle(input, 0)
}

fn operation(from: &str) -> OperationId {
    OperationId::from_random([from.as_bytes()[0]; 16])
}

fn to(from: &str, message: PeerMessage) -> Effect {
    say(&from.parse().unwrap(), operation(from), message)
}

fn pull() -> PeerMessage {
    PeerMessage::Pull {
        blob: module(),
        offset: 0,
        chunks: 1,
    }
}

fn chunk(jobs: &mut Jobs, from: &str, bytes: &'static [u8]) -> Vec<Effect> {
    let input = Input::Chunk {
        from: from.parse().unwrap(),
        operation: operation(from),
        blob: module(),
        offset: 0,
        bytes: Bytes::from_static(bytes),
    };
    jobs.handle(input, 1)
}

fn look(jobs: &mut Jobs, code: Option<Blob>, has_module: bool) -> Vec<Effect> {
    let job = job();
    let looked = Input::Looked {
        job,
        code,
        has_module,
    };
    jobs.handle(looked, 0)
}

#[test]
fn the_module_is_fetched_compiled_once_and_all_who_asked_are_told() {
    let mut jobs = Jobs::new(vec![key(1)]);
    assert_eq!(ask(&mut jobs, "a", &[1]), [Effect::Look(job())]);
    assert_eq!(look(&mut jobs, None, false), [to("a", pull())]);
    assert_eq!(ask(&mut jobs, "b", &[1]), [to("b", PeerMessage::CodeUnderWay)]);
    assert_eq!(ask(&mut jobs, "a", &[1]), [to("a", PeerMessage::CodeUnderWay)]);
    assert_eq!(chunk(&mut jobs, "b", b"module"), [], "it was not asked");
    let compile = Effect::Compile {
        job: job(),
        wasm: Some(b"module".to_vec()),
    };
    assert_eq!(chunk(&mut jobs, "a", b"module"), [compile]);
    assert_eq!(chunk(&mut jobs, "a", b"module"), [], "said twice");
    let code = Blob::of(b"code");
    let result = Ok(code);
    let told = jobs.handle(Input::Compiled { job: job(), result }, 0);
    let made = || PeerMessage::CodeMade { code };
    assert_eq!(told, [to("a", made()), to("b", made())]);
    assert!(jobs.is_idle());
}

/// A fleet of two versions: each engine has a job of its own, and what cannot be made for one is no loss to
/// the other.
#[test]
fn each_version_of_wasmtime_gets_its_own_form_or_its_own_refusal() {
    let mut jobs = Jobs::new(vec![key(1)]);
    let newer = CodeTarget {
        wasmtime: "99.0.0".into(),
        ..target()
    };
    let other = Job {
        target: newer.clone(),
        ..job()
    };
    assert_eq!(ask(&mut jobs, "a", &[1]), [Effect::Look(job())]);
    let wanted = Input::Wanted {
        from: "b".parse().unwrap(),
        operation: operation("b"),
        module: module(),
        target: newer,
        keys: vec![key(1)],
    };
    assert_eq!(jobs.handle(wanted, 0), [Effect::Look(other.clone())]);
    look(&mut jobs, None, true);
    let looked = Input::Looked {
        job: other.clone(),
        code: None,
        has_module: true,
    };
    jobs.handle(looked, 0);
    let failure = Failure::BadRequest {
        reason: "no such compiler here".into(),
    };
    let result = Err(failure.clone());
    let told = jobs.handle(Input::Compiled { job: other, result }, 0);
    assert_eq!(told, [to("b", PeerMessage::Refused { failure })]);
    let code = Blob::of(b"code");
    let result = Ok(code);
    let told = jobs.handle(Input::Compiled { job: job(), result }, 0);
    assert_eq!(told, [to("a", PeerMessage::CodeMade { code })]);
}

#[test]
fn what_is_on_disk_is_not_made_again() {
    let mut jobs = Jobs::new(vec![key(1)]);
    let code = Blob::of(b"code");
    ask(&mut jobs, "a", &[1]);
    let made = PeerMessage::CodeMade { code };
    assert_eq!(look(&mut jobs, Some(code), false), [to("a", made)]);
    ask(&mut jobs, "a", &[1]);
    let compile = Effect::Compile {
        job: job(),
        wasm: None,
    };
    let told = to("a", PeerMessage::CodeUnderWay);
    assert_eq!(look(&mut jobs, None, true), [told, compile], "it is the first");
}

#[test]
fn code_is_signed_with_the_newest_key_that_the_engine_trusts() {
    let mut jobs = Jobs::new(vec![key(2), key(1)]);
    for (trusted, chosen) in [(&[1, 2][..], 2), (&[1], 1), (&[3, 2], 2)] {
        let job = Job {
            key: key(chosen),
            ..job()
        };
        assert_eq!(ask(&mut jobs, "a", trusted), [Effect::Look(job)]);
        jobs.jobs.clear();
    }
    match &ask(&mut jobs, "a", &[3])[..] {
        [
            Effect::Say {
                message: PeerMessage::Refused { failure },
                ..
            },
        ] => {
            assert!(failure.to_string().contains(&key(2).to_string()), "{failure}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_that_does_not_come_is_asked_for_again_and_then_forgotten() {
    let mut jobs = Jobs::new(vec![key(1)]);
    ask(&mut jobs, "a", &[1]);
    look(&mut jobs, None, false);
    assert_eq!(jobs.handle(Input::Tick, 1_000), [to("a", pull())]);
    jobs.handle(Input::Tick, FETCH_SILENCE_MS);
    assert!(jobs.is_idle());
    assert_eq!(chunk(&mut jobs, "a", b"module"), []);
}

#[test]
fn what_is_damaged_or_too_large_is_refused() {
    let mut jobs = Jobs::new(vec![key(1)]);
    ask(&mut jobs, "a", &[1]);
    look(&mut jobs, None, false);
    let last = (0..3).map(|_| chunk(&mut jobs, "a", b"madule")).last();
    assert!(matches!(
        last.as_deref(),
        Some([Effect::Say {
            message: PeerMessage::Refused { .. },
            ..
        }])
    ));
    let module = Blob {
        bytes: MODULE_BYTES_MAX + 1,
        ..module()
    };
    assert!(jobs.job(module, target(), &[key(1)]).is_err());
    let smuggled = CodeTarget {
        abi: "\n".into(),
        ..target()
    };
    assert!(jobs.job(Blob::of(b""), smuggled, &[key(1)]).is_err());
    assert!(jobs.job(Blob::of(b""), target(), &[key(1); 9]).is_err());
}
