//! The free space of a disk, and a temporary folder for a sample.

use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use super::GenerateError;

/// Bytes that an unprivileged program may still write on the disk of `folder`; `None` when that is
/// not known.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

/// Fails when `needed` bytes do not fit on the disk of `folder`. When the free space is not known,
/// it succeeds.
pub fn check(folder: &Path, needed: u64) -> Result<(), GenerateError> {
    match free_bytes(folder) {
        Some(free) if free < needed => Err(GenerateError::DiskTooSmall {
            folder: folder.to_owned(),
            needed: HumanBytes(needed),
            free: HumanBytes(free),
        }),
        _ => Ok(()),
    }
}

/// A folder of our own. It is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a new folder in `parent`. Fails when `parent` cannot be written.
    pub fn within(parent: &Path) -> Result<Self, GenerateError> {
        let folder = parent.join(format!(
            ".facility-summary-sample-{}-{}",
            std::process::id(),
            uuid::Uuid::new_v4().simple()
        ));
        std::fs::create_dir_all(&folder)
            .map_err(|source| GenerateError::Folder { folder: folder.clone(), source })?;
        Ok(Scratch(folder))
    }

    /// The URL of an SQLite database in here.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.0.join("sample.db").display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // When the folder cannot be removed, it stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_holds_is_refused_and_a_byte_is_not() {
        let here = std::env::temp_dir();
        assert!(check(&here, 1).is_ok());
        let refusal = check(&here, u64::MAX).unwrap_err().to_string();
        assert!(refusal.contains("free"), "{refusal}");
    }

    #[test]
    fn a_scratch_folder_is_gone_afterwards() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(parent.path()).unwrap();
        let folder = scratch.0.clone();
        assert!(folder.is_dir());
        drop(scratch);
        assert!(!folder.exists());
    }
}
