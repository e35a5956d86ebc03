//! The rejects file: the rows that `--on-error skip` left out, with the reasons. It is beside the
//! imported file: `FILE.rejects.csv`, or `FILE.rejects-2.csv` and so on when an earlier run has
//! written one. A rejects file of an earlier run is never changed: a user may be editing it.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Writer, WriterBuilder};

use super::error::{ImportError, RowFault};

/// The two columns after those of the file.
const OWN_COLUMNS: [&[u8]; 2] = [b"reject_line", b"reject_reason"];

/// The first file from which a rejects file comes: `bank.csv` for `bank.csv.rejects-2.csv`. For any
/// other file, the file itself.
pub fn first_file(path: &Path) -> PathBuf {
    let mut file = path.to_owned();
    while let Some(parent) = file.file_name().and_then(|name| name.to_str()).and_then(parent_name) {
        file = file.with_file_name(parent);
    }
    file
}

fn parent_name(name: &str) -> Option<&str> {
    let (parent, number) = name.strip_suffix(".csv")?.rsplit_once(".rejects")?;
    let is_ours = number.is_empty()
        || number
            .strip_prefix('-')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (is_ours && !parent.is_empty()).then_some(parent)
}

/// The rejects file of a run. It is created with the first rejected row, and has the columns of the
/// file and two more: the line and the reason.
pub struct Rejects {
    /// The file from whose name its own name is made.
    file: PathBuf,
    /// Its path: the one that it would get, and its real one as soon as it is created.
    path: PathBuf,
    header: ByteRecord,
    /// The imported file is a rejects file itself. Its lines and reasons are replaced by new ones.
    again: bool,
    writer: Option<Writer<File>>,
    /// A dry run: nothing is written, but the path is reported.
    dry_run: bool,
    /// The number of rejected rows.
    pub count: u64,
    /// The fault of the first one.
    pub first: Option<RowFault>,
}

impl Rejects {
    /// For the rejected rows of `file`. Nothing is written before the first one, or in a dry run.
    pub fn beside(file: &Path, header: &ByteRecord, dry_run: bool) -> Self {
        let again = header.len() > 2 && header.iter().skip(header.len() - 2).eq(OWN_COLUMNS);
        let file = first_file(file);
        Rejects {
            path: free_name(&file),
            file,
            header: header.clone(),
            again,
            writer: None,
            dry_run,
            count: 0,
            first: None,
        }
    }

    /// Adds a rejected row. Fails when the file cannot be written.
    pub fn add(&mut self, row: &ByteRecord, fault: RowFault) -> Result<(), ImportError> {
        if !self.dry_run {
            self.write(row, &fault).map_err(|error| self.failed(error))?;
        }
        self.count += 1;
        self.first.get_or_insert(fault);
        Ok(())
    }

    /// Writes what is buffered to the file.
    pub fn flush(&mut self) -> Result<(), ImportError> {
        let flushed = self.writer.as_mut().map_or(Ok(()), Writer::flush);
        flushed.map_err(|error| self.failed(error))
    }

    /// The path of the file; `None` when no row was rejected.
    pub fn path(&self) -> Option<&Path> {
        (self.count > 0).then_some(&self.path)
    }

    fn write(&mut self, row: &ByteRecord, fault: &RowFault) -> io::Result<()> {
        let columns = self.header.len() - if self.again { OWN_COLUMNS.len() } else { 0 };
        if self.writer.is_none() {
            let (path, file) = self.create()?;
            self.path = path;
            let mut writer = WriterBuilder::new().flexible(true).from_writer(file);
            writer.write_record(self.header.iter().take(columns).chain(OWN_COLUMNS))?;
            self.writer = Some(writer);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let (line, reason) = (fault.line.to_string(), fault.to_string());
        // A short row gets empty cells, so that line and reason are in their columns. A row that is
        // too long keeps all of its cells.
        let kept = if row.len() > self.header.len() { row.len() } else { columns };
        let missing = std::iter::repeat_n(&b""[..], columns.saturating_sub(row.len()));
        writer.write_record(
            row.iter().take(kept).chain(missing).chain([line.as_bytes(), reason.as_bytes()]),
        )?;
        Ok(())
    }

    /// Creates a file that does not exist yet, and returns its path.
    fn create(&self) -> io::Result<(PathBuf, File)> {
        let mut number = 1;
        loop {
            let path = numbered(&self.file, number);
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Rejects { path: self.path.clone(), source }
    }
}

/// The path that a rejects file would get now.
fn free_name(file: &Path) -> PathBuf {
    let mut number = 1;
    while numbered(file, number).exists() {
        number += 1;
    }
    numbered(file, number)
}

fn numbered(file: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(if number == 1 {
        ".rejects.csv".to_owned()
    } else {
        format!(".rejects-{number}.csv")
    });
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejects_file_knows_its_first_file() {
        for (file, first) in [
            ("a/bank.csv.rejects.csv", "a/bank.csv"),
            ("bank.csv.rejects-12.csv", "bank.csv"),
            ("bank.csv.rejects.csv.rejects-2.csv", "bank.csv"),
            ("bank.csv", "bank.csv"),
            ("bank.rejects-x.csv", "bank.rejects-x.csv"),
            ("bank.rejects-.csv", "bank.rejects-.csv"),
            (".rejects.csv", ".rejects.csv"),
        ] {
            assert_eq!(first_file(Path::new(file)), Path::new(first), "{file}");
        }
    }
}
