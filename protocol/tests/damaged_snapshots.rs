//! A damaged or hostile snapshot is refused: no panic, and no more memory than its bytes justify. The fuzzing
//! target in `protocol/fuzz` is this without an end.
#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{UNPACKED_BYTES_MAX, decode, packed, seal};
use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::{GlobalValue, HostState, MemoryImage, PAGE_BYTES, Snapshot, SnapshotError};

const MUTATIONS: usize = 20_000;
/// Allocated in all for each byte of a body, growing vectors and the copies of the comparison included.
const ALLOCATED_PER_BYTE_MAX: u64 = 100;
const ALLOCATED_BYTES_MIN: u64 = 4 << 20;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // Not while a thread ends: then nobody asks.
    let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + bytes as u64));
}

// Sound: hands everything to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn body() -> Vec<u8> {
    let snapshot = Snapshot {
        module: Digest::of(b"module"),
        abi: 7,
        base: None,
        frames: (0..200).collect(),
        globals: vec![
            GlobalValue::I32(5),
            GlobalValue::F64(1),
            GlobalValue::V128(1 << 99),
            GlobalValue::Function(Some(0)),
        ],
        memories: vec![MemoryImage {
            bytes: 65536,
            pages: [(0, Box::new([1; PAGE_BYTES])), (3, Box::new([3; PAGE_BYTES]))].into(),
        }],
        tables: vec![vec![None, Some(3)], vec![]],
        references: vec![Some(70_000)],
        host: HostState {
            stdout_open: b"half a li".to_vec(),
            ..HostState::default()
        },
    };
    zstd::stream::decode_all(packed(&snapshot.encode())).unwrap()
}

/// SplitMix64 (Steele, Lea, Flood).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn mutated_bodies_are_refused_or_survive_encoding() {
    let good = body();
    let whole = decode(&good)[0].clone();
    assert!(whole.is_ok(), "{whole:?}");
    let mut state = 42;
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let mut data = good.clone();
        for _ in 0..=random(&mut state) % 4 {
            let at = random(&mut state) as usize % data.len();
            match random(&mut state) % 5 {
                0 => data[at] ^= 1 << (random(&mut state) % 8),
                1 => data[at] = [0, 1, 0x7f, 0x80, 0xff][random(&mut state) as usize % 5],
                2 => data.truncate(at.max(1)),
                3 => data.extend(vec![random(&mut state) as u8; at % 64]),
                // Counts and lengths are words: the first ones stand at the start, the others behind the
                // frames.
                _ => {
                    let at = [0, 204, 246, 250, 258][random(&mut state) as usize % 5];
                    if let Some(word) = data.get_mut(at..at + 4) {
                        word.copy_from_slice(&(random(&mut state) as u32).to_le_bytes());
                    }
                }
            }
        }
        ALLOCATED.set(0);
        let [decoded, _] = decode(&data);
        let (bytes, most) = (ALLOCATED.get(), data.len() as u64 * ALLOCATED_PER_BYTE_MAX);
        assert!(
            bytes <= most.max(ALLOCATED_BYTES_MIN),
            "round {round}: {bytes} bytes for {}",
            data.len()
        );
        match decoded {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 100 && refused > 1_000, "{accepted} and {refused}");
}

/// The window is what zstd keeps of the output, and allocates as soon as it has read of it.
#[test]
fn a_stream_that_wants_a_larger_window_than_its_output_is_refused() {
    const WINDOW_LOG: u32 = 27;
    let good = body();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(WINDOW_LOG).unwrap();
    std::io::Write::write_all(&mut encoder, &good).unwrap();
    let stream = encoder.finish().unwrap();
    let sealed = seal(good.len() as u64, &stream);
    assert!(matches!(
        Snapshot::decode_within(&sealed, UNPACKED_BYTES_MAX),
        Err(SnapshotError::Malformed(_))
    ));
}
