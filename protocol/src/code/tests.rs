use super::*;

fn key(number: u8) -> SecretKey {
    SecretKey::from_random([number; 32])
}

fn target() -> CodeTarget {
    CodeTarget {
        architecture: "pulley32".into(),
        wasmtime: "48.0.8".into(),
        abi: "2 blocking fd_read".into(),
    }
}

fn module() -> Digest {
    Digest::of(b"module")
}

fn signed() -> Vec<u8> {
    sign(module(), &target(), "0.1.0 revision 7", b"the code", &key(1)).unwrap()
}

fn verify(bytes: Vec<u8>) -> Result<SignedCode, CodeRefusal> {
    SignedCode::verify(bytes, module(), &target(), &[key(3).public(), key(1).public()])
}

#[test]
fn what_was_signed_is_taken() {
    let code = verify(signed()).unwrap();
    assert_eq!(code.code(), b"the code");
    assert_eq!(code.bytes(), signed());
    assert!(signed().starts_with(target().header(module()).as_bytes()));
}

#[test]
fn tampered_code_is_refused_wherever_it_was_changed() {
    let good = signed();
    let code_at = good.len() - b"the code".len();
    for at in 0..good.len() {
        for change in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= change;
            let refusal = verify(bad).expect_err("it was changed");
            if at >= code_at {
                assert_eq!(refusal, CodeRefusal::Code, "byte {at}");
            } else if at >= code_at - SIGNATURE_BYTES {
                assert_eq!(refusal, CodeRefusal::Signature, "byte {at}");
            }
        }
    }
    for cut in 0..good.len() {
        assert!(verify(good[..cut].to_vec()).is_err(), "cut to {cut}");
    }
    let longer = [&good[..], b"!"].concat();
    assert_eq!(verify(longer).unwrap_err(), CodeRefusal::Code);
}

#[test]
fn another_key_of_the_fleet_cannot_be_claimed() {
    // Signed by a stranger who writes a trusted key into the header.
    let honest = String::from_utf8_lossy(&signed()).contains(&key(1).public().to_string());
    assert!(honest);
    let stranger = sign(module(), &target(), "c", b"the code", &key(2)).unwrap();
    let (from, to) = (key(2).public().to_string(), key(1).public().to_string());
    let at = stranger
        .windows(from.len())
        .position(|bytes| bytes == from.as_bytes())
        .unwrap();
    let mut forged = stranger;
    forged[at..at + to.len()].copy_from_slice(to.as_bytes());
    assert_eq!(verify(forged).unwrap_err(), CodeRefusal::Signature);
}

#[test]
fn unsigned_code_is_refused() {
    assert_eq!(
        verify(b"\x7fELF code".to_vec()).unwrap_err(),
        CodeRefusal::NotSignedCode
    );
    let mut bytes = target().header(module()).into_bytes();
    let Blob {
        digest,
        bytes: length,
    } = Blob::of(b"the code");
    bytes.extend(format!("compiler c\ncode {digest} {length}\n\nthe code").bytes());
    assert_eq!(verify(bytes).unwrap_err(), CodeRefusal::Unsigned);
    let header = signed().len() - SIGNATURE_BYTES - b"the code".len();
    assert_eq!(
        verify(signed()[..header].to_vec()).unwrap_err(),
        CodeRefusal::Unsigned
    );
}

#[test]
fn a_foreign_key_is_refused_and_named() {
    let foreign = sign(module(), &target(), "c", b"the code", &key(2)).unwrap();
    let found = key(2).public().to_string();
    assert_eq!(verify(foreign).unwrap_err(), CodeRefusal::ForeignKey { found });
    let trusting_nobody = SignedCode::verify(signed(), module(), &target(), &[]);
    assert!(matches!(trusting_nobody, Err(CodeRefusal::ForeignKey { .. })));
}

/// Each with a key that is not trusted either: what it is for is looked at first.
fn refusal_for(module: Digest, target: &CodeTarget) -> CodeRefusal {
    verify(sign(module, target, "c", b"the code", &key(2)).unwrap()).unwrap_err()
}

#[test]
fn another_target_is_refused_first() {
    let other = CodeTarget {
        architecture: "x86_64".into(),
        ..target()
    };
    let refusal = refusal_for(module(), &other).to_string();
    assert_eq!(refusal, "it is for target x86_64, and pulley32 is needed");
}

#[test]
fn another_version_is_refused_first() {
    let other = CodeTarget {
        wasmtime: "47.0.0".into(),
        ..target()
    };
    let refusal = refusal_for(module(), &other).to_string();
    assert_eq!(refusal, "it is for wasmtime 47.0.0, and 48.0.8 is needed");
    let other = CodeTarget {
        abi: "9".into(),
        ..target()
    };
    assert!(matches!(refusal_for(module(), &other), CodeRefusal::Abi { .. }));
}

#[test]
fn another_module_is_refused_first() {
    assert!(matches!(
        refusal_for(Digest::of(b"another"), &target()),
        CodeRefusal::Module { .. }
    ));
}

#[test]
fn lines_cannot_be_smuggled_into_a_header() {
    let smuggled = CodeTarget {
        architecture: "x\nkey 00".into(),
        ..target()
    };
    assert!(sign(module(), &smuggled, "c", b"", &key(1)).is_err());
    assert!(sign(module(), &target(), "c\n", b"", &key(1)).is_err());
    assert!(sign(module(), &target(), &"c".repeat(2000), b"", &key(1)).is_err());
}

#[test]
fn keys_survive_text() {
    let secret: SecretKey = key(5).reveal().parse().unwrap();
    assert_eq!(secret.public(), key(5).public());
    assert_eq!(key(5).public().to_string().parse(), Ok(key(5).public()));
    for bad in ["", "00", &"zz".repeat(32), &"é".repeat(32)] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
    let is_a_point = |number: u8| {
        format!("{number:02x}{}", "00".repeat(31))
            .parse::<PublicKey>()
            .is_ok()
    };
    assert!(!(0..32).all(is_a_point), "half of all numbers are none");
    assert!(!format!("{:?}", key(5)).contains(&key(5).reveal()));
}
