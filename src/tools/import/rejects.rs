//! The rows that `--on-error skip` left out, with the reasons: `FILE.rejects.csv`, beside the file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Writer, WriterBuilder};

use super::error::{Fault, ImportError};

/// Written from the first rejected row on, with the columns of the file and two more: the line and the reason.
pub struct Rejects {
    path: PathBuf,
    header: ByteRecord,
    writer: Option<Writer<File>>,
    /// Nothing is written; where it would be is said.
    dry_run: bool,
    pub count: u64,
    pub first: Option<Fault>,
}

impl Rejects {
    /// Removes what an earlier run left: a rejects file always speaks of the last one.
    pub fn beside(file: &Path, header: &ByteRecord, dry_run: bool) -> Result<Self, ImportError> {
        let mut name = OsString::from(file);
        name.push(".rejects.csv");
        let rejects = Rejects { path: name.into(), header: header.clone(), writer: None, dry_run, count: 0, first: None };
        if dry_run {
            return Ok(rejects);
        }
        match fs::remove_file(&rejects.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(rejects.failed(error)),
            _ => Ok(rejects),
        }
    }

    pub fn add(&mut self, row: &ByteRecord, fault: Fault) -> Result<(), ImportError> {
        if !self.dry_run {
            self.write(row, &fault).map_err(|error| self.failed(error))?;
        }
        self.count += 1;
        self.first.get_or_insert(fault);
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), ImportError> {
        let flushed = self.writer.as_mut().map_or(Ok(()), Writer::flush);
        flushed.map_err(|error| self.failed(error))
    }

    /// Where the rejected rows are, if there are any.
    pub fn path(&self) -> Option<&Path> {
        (self.count > 0).then_some(&self.path)
    }

    fn write(&mut self, row: &ByteRecord, fault: &Fault) -> io::Result<()> {
        if self.writer.is_none() {
            let mut writer = WriterBuilder::new().flexible(true).from_path(&self.path)?;
            writer.write_record(self.header.iter().chain([&b"reject_line"[..], b"reject_reason"]))?;
            self.writer = Some(writer);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let (line, reason) = (fault.line.to_string(), fault.to_string());
        // A short row is filled up, so that line and reason stand in their columns.
        let missing = std::iter::repeat_n(&b""[..], self.header.len().saturating_sub(row.len()));
        writer.write_record(row.iter().chain(missing).chain([line.as_bytes(), reason.as_bytes()]))?;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Rejects { path: self.path.clone(), source }
    }
}
