//! Clocks that tests set, with libfaketime for a Postgres or a service.

use std::{
    fs::File,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tempfile::NamedTempFile;

/// A wall clock that goes on at the usual rate from the time to which it is set. The time applies
/// at once to every process that was started with this clock's environment.
///
/// Monotonic clocks are not changed: time-outs and intervals take as long as ever. Two values of
/// this type are two separate clocks.
pub struct FakeClock {
    /// Holds the distance from the true time. It is the same in each process, whenever that process
    /// started.
    offset: NamedTempFile,
}

impl FakeClock {
    pub fn at(now: Timestamp) -> FakeClock {
        remove_left_semaphores();
        // Not in a private folder, since Postgres reads it as another user.
        let readable = std::fs::Permissions::from_mode(0o644);
        let offset = tempfile::Builder::new()
            .permissions(readable)
            .tempfile()
            .expect("a temporary file can be made");
        let clock = FakeClock { offset };
        clock.set(now);
        clock
    }

    /// Sets the clock to this time.
    pub fn set(&self, now: Timestamp) {
        let seconds = (now.as_millisecond() - Timestamp::now().as_millisecond()) as f64 / 1e3;
        // The text has a fixed width and is written at once, so that a reader sees the old text or
        // the new one.
        let text = format!("{seconds:+020.3}\n");
        let file: &File = self.offset.as_file();
        file.write_all_at(text.as_bytes(), 0).expect("the file can be written");
    }

    /// For `Postgres::start_in_environment` and `Launch::envs`.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.path().display().to_string()),
            // Otherwise a new time is noticed only after ten seconds.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        remove_left_semaphores();
    }
}

/// Removes what libfaketime made for processes that have ended. It makes a semaphore and shared
/// memory named by the process. A process that is killed leaves them. A later process of another
/// user that gets the same number then cannot start, since it may not open them.
fn remove_left_semaphores() {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let process = ["sem.faketime_sem_", "faketime_shm_"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another test may have removed it, or it belongs to another user.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The build for programs with threads. It works for programs without threads as well.
fn library() -> PathBuf {
    let folders =
        std::fs::read_dir("/usr/lib").expect("/usr/lib exists").flatten().map(|entry| entry.path());
    folders
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .expect("libfaketime is installed: tests/install-deps.sh does it")
}
