//! Reads CSV as programs really write it: mixed line ends, a byte order mark, quotes, and broken
//! rows. One row is in memory at a time.

use std::{
    fs::File,
    io::{self, Chain, Cursor, Read},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, ReaderBuilder};

use super::{
    columns::Mapping,
    error::{ImportError, RowFault},
    recognise, separators,
};

/// The longest row, in bytes. Real rows have some hundred bytes. In a longer one a quote was not
/// closed; the bound keeps the memory small.
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
    /// The first bytes of the file.
    sample: Vec<u8>,
}

/// A row, with the line in which it begins.
pub struct FileRow<'a> {
    /// The line in which it begins; the header is line 1.
    pub line: u64,
    /// Its cells, as bytes.
    pub cells: &'a ByteRecord,
    columns: usize,
}

/// Rows with fewer cells than the header. The missing cells count as empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShortRows {
    /// How many there are.
    pub count: u64,
    /// The lines of the first five.
    pub first: Vec<u64>,
}

impl ShortRows {
    /// Counts the row in that line.
    pub fn add(&mut self, line: u64) {
        self.count += 1;
        if self.first.len() < 5 {
            self.first.push(line);
        }
    }
}

impl FileRow<'_> {
    /// Compares the number of cells with the header. Spreadsheets add and leave out empty cells at
    /// the end of a row. So a row may have more cells if these are empty, and fewer if no required
    /// field is among the missing ones. True when it has fewer; a fault when the number is wrong.
    pub fn is_short(&self, mapping: &Mapping) -> Result<bool, RowFault> {
        let (cells, columns) = (self.cells.len(), self.columns);
        let fault = |problem: String| RowFault {
            line: self.line,
            origin: None,
            value: String::new(),
            problem,
        };
        if self.cells.iter().skip(columns).any(|cell| !cell.trim_ascii().is_empty()) {
            return Err(fault(format!(
                "the row has {cells} cells, the header {columns}; a value that contains a comma \
                 or a line break must stand in double quotes"
            )));
        }
        if cells >= columns {
            return Ok(false);
        }
        if let Some(separator) = separators::separated_cell(self.cells, columns) {
            return Err(fault(format!(
                "the row is separated by {separator}, and commas are expected"
            )));
        }
        match mapping.required_behind(cells) {
            None => Ok(true),
            Some(column) => Err(fault(format!(
                "the row has {cells} cells, the header {columns}; the column \"{column}\" is \
                 needed and missing here"
            ))),
        }
    }
}

impl Rows {
    /// Opens the file and reads its header. Fails when the file cannot be read, has no header, or
    /// is not CSV in UTF-8.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a folder; a CSV file is expected",
            )));
        }
        let mut sample = Vec::new();
        file.by_ref()
            .take(recognise::SAMPLE_BYTES as u64)
            .read_to_end(&mut sample)
            .map_err(unreadable)?;
        if let Some(what) = recognise::foreign(&sample, sample.len() < recognise::SAMPLE_BYTES) {
            return Err(ImportError::NotCsv { path: path.to_owned(), what });
        }
        let watched = Watched {
            file: Cursor::new(sample.clone()).chain(file),
            window: Vec::new(),
            last_byte: None,
            at_end: false,
        };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(watched);
        let mut rows = Rows {
            path: path.to_owned(),
            reader,
            header: ByteRecord::new(),
            record: ByteRecord::new(),
            line: 1,
            lines: Lines { current: 1, after_cr: false },
            total_bytes: metadata.len(),
            sample,
        };
        if !rows.advance()? {
            let what = "empty; a header line with the columns' names is expected".to_owned();
            return Err(ImportError::NotCsv { path: path.to_owned(), what });
        }
        std::mem::swap(&mut rows.header, &mut rows.record);
        Ok(rows)
    }

    /// Explains the error by what the file shows: another separator, or titles above the header.
    /// The same error when it shows neither.
    pub fn explained(&self, error: ImportError) -> ImportError {
        let ImportError::NoColumn { named, columns } = error else { return error };
        if let Some(what) = separators::separator(&self.sample) {
            return ImportError::NotCsv { path: self.path.clone(), what };
        }
        let hint = match separators::header_below(&self.sample, &named) {
            Some(line) => format!(
                ". Line {line} has it: delete the lines above that one, so that the first line \
                 names the columns"
            ),
            None => String::new(),
        };
        ImportError::NoColumn { named, columns: format!("{columns}{hint}") }
    }

    /// The cells of the header, as the file has them.
    pub fn header(&self) -> &ByteRecord {
        &self.header
    }

    /// The next row, or `None` at the end. Rows of empty cells are left out: spreadsheets append
    /// them. Fails when the file cannot be read on.
    pub fn next(&mut self) -> Result<Option<FileRow<'_>>, ImportError> {
        while self.advance()? {
            if self.record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            return Ok(Some(FileRow {
                line: self.line,
                cells: &self.record,
                columns: self.header.len(),
            }));
        }
        Ok(None)
    }

    /// Bytes read so far, and bytes of the whole file.
    pub fn progress(&self) -> (u64, u64) {
        (self.reader.position().byte(), self.total_bytes)
    }

    /// Reads the next record and the line in which it begins; false at the end of the file.
    fn advance(&mut self) -> Result<bool, ImportError> {
        let starts_at = self.reader.position().byte();
        let answer = self.reader.read_byte_record(&mut self.record);
        let bytes = (self.reader.position().byte() - starts_at) as usize;
        let watched = self.reader.get_mut();
        // The reader counts line ends, such as the second half of a CRLF and blank lines, to the
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

    /// Whether the file ended within quotes. The last cell then has line ends in it, and the last
    /// byte of the file is not the quote that would close it.
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

/// Counts lines; the first is 1. Lines end in LF, CRLF or CR, even all three in one file.
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

/// The file. It remembers what the CSV reader has read from it.
struct Watched {
    file: Chain<Cursor<Vec<u8>>, File>,
    /// Bytes that were read from the file and do not yet belong to a finished row.
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
        self.at_end = count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
