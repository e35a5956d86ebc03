//! CSV as the world writes it: mixed line ends, a byte order mark, quotes, and rows that break. One
//! row is in memory at a time.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, ReaderBuilder};

use super::error::{Fault, ImportError};

/// The longest row, in bytes. Real rows have hundreds; one this long is a quote that is never
/// closed, and memory stays bounded.
const MAX_ROW_BYTES: usize = 1 << 20;

/// The rows of one file, in order.
pub struct Rows {
    path: PathBuf,
    reader: csv::Reader<Watched>,
    header: ByteRecord,
    record: ByteRecord,
    /// The line in which `record` begins.
    line: u64,
    lines: Lines,
    total_bytes: u64,
}

/// A row, with the line in which it begins.
pub struct Row<'a> {
    pub line: u64,
    pub cells: &'a ByteRecord,
    /// Whether it has as many cells as the header. One that has not is here all the same, for the
    /// rejects file.
    pub fits: Result<(), Fault>,
}

impl Rows {
    /// Opens the file and reads its header. Fails where there is none, or where the text is UTF-16.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a folder; a CSV file is expected",
            )));
        }
        let watched = Watched { file, window: Vec::new(), last_byte: None, at_end: false };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(watched);
        let mut rows = Rows {
            path: path.to_owned(),
            reader,
            header: ByteRecord::new(),
            record: ByteRecord::new(),
            line: 1,
            lines: Lines { current: 1, after_cr: false },
            total_bytes: metadata.len(),
        };
        if !rows.advance()? {
            return Err(ImportError::Broken {
                line: 1,
                problem: format!(
                    "{} is empty; a header line with the columns' names is expected",
                    path.display()
                ),
            });
        }
        if rows.record.as_slice().starts_with(&[0xff, 0xfe])
            || rows.record.as_slice().starts_with(&[0xfe, 0xff])
        {
            return Err(ImportError::Broken {
                line: 1,
                problem: "the text is UTF-16; save the file as UTF-8".to_owned(),
            });
        }
        std::mem::swap(&mut rows.header, &mut rows.record);
        Ok(rows)
    }

    /// The cells of the first line, as they stand there.
    pub fn header(&self) -> &ByteRecord {
        &self.header
    }

    /// The next row, or `None` at the end. Rows without a single filled cell are passed over:
    /// spreadsheets append them.
    pub fn next(&mut self) -> Result<Option<Row<'_>>, ImportError> {
        while self.advance()? {
            if self.record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            let line = self.line;
            let (cells, columns) = (self.record.len(), self.header.len());
            let fits = if cells == columns {
                Ok(())
            } else {
                let problem = format!(
                    "the row has {cells} cells, the header {columns}; a value that contains a \
                     comma or a line break must stand in double quotes"
                );
                Err(Fault { line, origin: None, value: String::new(), problem })
            };
            return Ok(Some(Row { line, cells: &self.record, fits }));
        }
        Ok(None)
    }

    /// Bytes read so far, and in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.reader.position().byte(), self.total_bytes)
    }

    /// Reads the next record and finds its line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, ImportError> {
        let starts_at = self.reader.position().byte();
        let answer = self.reader.read_byte_record(&mut self.record);
        let bytes = (self.reader.position().byte() - starts_at) as usize;
        let watched = self.reader.get_mut();
        // The reader leaves line ends, such as the second half of a CRLF and blank lines, to the
        // row behind them.
        let leading =
            watched.window.iter().take(bytes).take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.lines.pass(&watched.window[..leading]);
        self.line = self.lines.current;
        self.lines.pass(&watched.window[leading..bytes]);
        watched.window.drain(..bytes);
        match answer {
            Ok(true) if self.ended_inside_quotes() => Err(self.unclosed_quote()),
            Ok(found) => Ok(found),
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => {
                    Err(self.unclosed_quote())
                }
                csv::ErrorKind::Io(source) => {
                    Err(ImportError::Unreadable { path: self.path.clone(), source })
                }
                kind => Err(ImportError::Unreadable {
                    path: self.path.clone(),
                    source: io::Error::other(format!("{kind:?}")),
                }),
            },
        }
    }

    /// The file ended within a cell that has swallowed line ends: had its quote been closed, the
    /// file's last byte would be that quote.
    fn ended_inside_quotes(&self) -> bool {
        let swallowed = self
            .record
            .iter()
            .next_back()
            .is_some_and(|cell| cell.contains(&b'\n') || cell.contains(&b'\r'));
        let watched = self.reader.get_ref();
        swallowed && watched.at_end && watched.last_byte != Some(b'"')
    }

    fn unclosed_quote(&self) -> ImportError {
        let problem = format!(
            "a double quote opens in this row and is not closed within {} KiB or before the file \
             ends",
            MAX_ROW_BYTES >> 10
        );
        ImportError::Broken { line: self.line, problem }
    }
}

/// Which line one is in, the first being 1. Lines end in LF, CRLF or CR, all three in one file if
/// need be.
struct Lines {
    current: u64,
    after_cr: bool,
}

impl Lines {
    fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.current += u64::from(byte == b'\r' || (byte == b'\n' && !self.after_cr));
            self.after_cr = byte == b'\r';
        }
    }
}

/// The file, watched on its way into the CSV reader.
struct Watched {
    file: File,
    /// What was read from the file and does not yet belong to a finished row.
    window: Vec<u8>,
    last_byte: Option<u8>,
    at_end: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.window.len() > MAX_ROW_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.file.read(buffer)?;
        self.window.extend_from_slice(&buffer[..count]);
        self.last_byte = buffer[..count].last().copied().or(self.last_byte);
        self.at_end = count == 0;
        Ok(count)
    }
}
