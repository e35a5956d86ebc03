//! Checks that the file at the path is the one that is open. When another program deletes or
//! replaces the file, the service keeps a file without a name, and everything written to it is lost
//! with the process.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::store::{Cause, Result, StoreError};

/// Device and inode.
type Identity = (u64, u64);

/// The file that is open, and the path that should lead to it.
pub struct DatabaseFile {
    path: PathBuf,
    opened: Identity,
    log_path: PathBuf,
    /// The write-ahead log beside the file. It exists from the first transaction until the last
    /// connection closes.
    log: OnceLock<Identity>,
    is_gone: AtomicBool,
    /// The service closes it, and with it the log goes.
    is_closing: AtomicBool,
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

impl DatabaseFile {
    /// Remembers the file at the path. It must have been opened just before.
    pub fn opened(path: &Path) -> io::Result<Self> {
        let mut log_path = path.as_os_str().to_owned();
        log_path.push("-wal");
        Ok(DatabaseFile {
            path: path.to_owned(),
            opened: identity(path)?,
            log_path: log_path.into(),
            log: OnceLock::new(),
            is_gone: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
        })
    }

    /// Says that the service closes the file: that the log goes is no fault then.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// `StoreError::Unavailable` while the path, or that of the log, leads to another file or to
    /// none.
    pub fn check(&self) -> Result<()> {
        let log = identity(&self.log_path).ok();
        if let (None, Some(found)) = (self.log.get(), log) {
            let _ = self.log.set(found);
        }
        let is_there = identity(&self.path).is_ok_and(|found| found == self.opened)
            && self.log.get().copied() == log;
        if !is_there && self.is_closing.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable(Cause::found("the service stops")));
        }
        let was_gone = self.is_gone.swap(!is_there, Ordering::AcqRel);
        match (is_there, was_gone) {
            (true, false) => Ok(()),
            (true, true) => {
                tracing::info!(
                    path = %self.path.display(),
                    "the database file is the one that is open again"
                );
                Ok(())
            }
            (false, _) => {
                if !was_gone {
                    tracing::error!(
                        remedy = self.remedy(),
                        "the database file was replaced or deleted under the service: no event is \
                         taken"
                    );
                }
                Err(StoreError::Unavailable(Cause::found(self.remedy())))
            }
        }
    }

    /// What is wrong when the check fails, and what to do about it.
    pub fn remedy(&self) -> String {
        let path = self.path.display();
        format!(
            "the file at {path}, or {path}-wal, is not the one that is open: it was replaced or \
             deleted; a restart opens the one that is there now"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_itself_until_another_takes_its_place_and_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let log = folder.path().join("s.db-wal");
        fs::write(&path, "one").unwrap();
        let file = DatabaseFile::opened(&path).unwrap();
        assert!(file.check().is_ok());
        fs::write(&log, "").unwrap();
        assert!(file.check().is_ok(), "the log is new");
        fs::rename(&path, folder.path().join("away")).unwrap();
        assert!(file.check().is_err());
        fs::write(&path, "two").unwrap();
        assert!(
            file.check()
                .unwrap_err()
                .to_string()
                .contains("a restart opens the one that is there now")
        );
        fs::rename(folder.path().join("away"), &path).unwrap();
        assert!(file.check().is_ok());
        fs::remove_file(&log).unwrap();
        assert!(file.check().is_err());
    }
}
