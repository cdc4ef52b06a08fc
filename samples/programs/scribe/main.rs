//! scribe [entries] [period_ms] [folder]: keeps files in /tmp, its scratch folder, which moves with it, or in a folder of the fleet's.
//!
//! Writes a diary of several volumes through open files, amends what it wrote before, renames and removes volumes, and in the end
//! reads everything back and prints its checksum: one lost, doubled or stale byte changes the last line.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Result, Seek, SeekFrom, Write};
use std::thread;
use std::time::Duration;

const ENTRIES_PER_VOLUME: u32 = 50;
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    let entries = number(0).unwrap_or(200);
    let period = Duration::from_millis(number(1).unwrap_or(0).into());
    let room = arguments.get(2).map_or("/tmp", String::as_str);
    fs::create_dir_all(format!("{room}/shelf"))?;
    let mut index = File::create(format!("{room}/index"))?;
    let mut volume = None;
    for entry in 0..entries {
        if entry % ENTRIES_PER_VOLUME == 0 {
            let number = entry / ENTRIES_PER_VOLUME;
            writeln!(index, "volume {number} from {entry}")?;
            volume = Some(begin(room, number)?);
        }
        if let Some(volume) = &mut volume {
            write(volume, entry)?;
        }
        println!("entry {entry}");
        thread::sleep(period);
    }
    drop(index);
    for line in BufReader::new(File::open(format!("{room}/index"))?).lines() {
        println!("{}", line?);
    }
    println!("checksum {:08x}", checksum(room)?);
    Ok(())
}

/// The volume before is bound: renamed into the shelf, and every third is lent out for good.
fn begin(room: &str, number: u32) -> Result<File> {
    let open = format!("{room}/open");
    if number > 0 {
        let bound = format!("{room}/shelf/{}", number - 1);
        fs::rename(&open, &bound)?;
        if number % 3 == 0 {
            fs::remove_file(bound)?;
        }
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(open)
}

/// Adds an entry, and crosses out a letter of an earlier one.
fn write(volume: &mut File, entry: u32) -> Result<()> {
    let end = volume.seek(SeekFrom::End(0))?;
    writeln!(volume, "entry {entry}: {}", "x".repeat((entry * 7 % 40) as usize))?;
    volume.seek(SeekFrom::Start(end / 2))?;
    let mut letter = [0];
    volume.read_exact(&mut letter)?;
    volume.seek(SeekFrom::Current(-1))?;
    if letter != *b"\n" {
        volume.write_all(b"-")?;
    }
    Ok(())
}

/// FNV-1a over names, as they are in /tmp, and contents (Fowler, Noll and Vo).
fn checksum(room: &str) -> Result<u32> {
    let mut names: Vec<_> = fs::read_dir(format!("{room}/shelf"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    names.push(format!("{room}/open").into());
    names.sort();
    let mut sum = 0x811c_9dc5_u32;
    for name in names {
        let text = name.to_string_lossy().replacen(room, "/tmp", 1);
        for byte in text.bytes().chain(fs::read(&name)?) {
            sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    Ok(sum)
}
