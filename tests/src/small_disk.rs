//! A disk that is soon full: some MiB of memory, mounted where only this process and whoever it starts on it
//! can see it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Pieces that it is filled with, so that the last one finds next to no room.
const PIECE_BYTES: usize = 4096;

#[derive(Debug)]
pub struct SmallDisk {
    /// Holds the mount: it waits for the end of its standard input.
    holder: Child,
    folder: tempfile::TempDir,
    /// For whoever enters.
    is_other_user: bool,
}

impl SmallDisk {
    /// `None`, loudly, where mounting is not allowed.
    ///
    /// # Panics
    /// There, if `WAYFARE_REQUIRE_DISK` is set: no test may pass for want of a disk where one can be had.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("wayfare-disk-").tempdir();
        let folder = folder.expect("a temporary folder");
        let script = format!("mount -t tmpfs -o size={mebibytes}m none \"$0\" && echo mounted && read -r _");
        // As a user of a namespace of one's own anybody may mount, where the system allows such; root may
        // anyway.
        for is_other_user in [true, false] {
            let how: &[&str] = if is_other_user { &["-r", "-m"] } else { &["-m"] };
            let holder = Command::new("unshare")
                .args(how)
                .args(["sh", "-c", &script])
                .arg(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut holder) = holder else { break };
            let mut said = String::new();
            let stdout = holder.stdout.take().expect("it was asked for");
            let read = BufReader::new(stdout).read_line(&mut said);
            if read.is_ok() && said == "mounted\n" {
                return Some(Self {
                    holder,
                    folder,
                    is_other_user,
                });
            }
            // It has ended.
            let _ = holder.wait();
        }
        assert!(
            std::env::var_os("WAYFARE_REQUIRE_DISK").is_none(),
            "a small disk cannot be mounted here, and WAYFARE_REQUIRE_DISK is set"
        );
        eprintln!("SKIPPED: a small disk cannot be mounted here");
        None
    }

    /// Where it is, for those who are on it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The words before a command that runs on it.
    pub fn enter(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let mut words = vec!["nsenter".to_owned(), "-t".into(), pid, "-m".into()];
        if self.is_other_user {
            words.extend(["-U".into(), "--preserve-credentials".into()]);
        }
        words
    }

    fn filler(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        let path = self.folder.path().strip_prefix("/").expect("it is absolute");
        Path::new(&root).join(path).join("filler")
    }

    /// To the last page.
    pub fn fill(&self) {
        let file = File::options().create(true).append(true).open(self.filler());
        let mut file = file.expect("it is mounted");
        while file.write_all(&[7; PIECE_BYTES]).is_ok() {}
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It may have died already.
        let _ = self.holder.wait();
    }
}
