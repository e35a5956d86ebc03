//! Why the columns of a file cannot be found: its cells are separated by another character than the
//! comma, or other lines stand above its header.

use csv::{ByteRecord, ReaderBuilder};

use super::identity::clean;

/// The separator in words, for messages.
pub const fn named(separator: char) -> &'static str {
    match separator {
        ';' => "semicolons",
        '\t' => "tabs",
        '|' => "bars (|)",
        ':' => "colons",
        _ => "another character than the comma",
    }
}

/// The separator of a file whose columns cannot be found with commas, as the rest of a sentence. It
/// splits the header into more cells than the comma does, and most other lines into as many.
pub fn separator(sample: &[u8]) -> Option<String> {
    let by_commas = cells(sample, b',');
    let found = [';', '\t', '|'].into_iter().find(|separator| {
        let counts = cells(sample, *separator as u8);
        let columns = counts.first().copied().unwrap_or(0);
        let alike = counts.iter().filter(|count| **count == columns).count();
        columns > by_commas.first().copied().unwrap_or(0) && alike * 10 >= counts.len() * 8
    })?;
    Some(format!(
        "separated by {}, and commas are expected; save it as CSV UTF-8 (comma delimited). Some \
         spreadsheets take the sign from the system's region",
        named(found)
    ))
}

/// The numbers of cells that the first lines have with that separator.
fn cells(sample: &[u8], separator: u8) -> Vec<usize> {
    let reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(sample);
    reader
        .into_byte_records()
        .flatten()
        .filter(|row| row.iter().any(|cell| !cell.trim_ascii().is_empty()))
        .take(20)
        .map(|row| row.len())
        .collect()
}

/// The separator of a row that has a single cell with as many values as the header has columns.
pub fn separated_cell(row: &ByteRecord, columns: usize) -> Option<&'static str> {
    let cell = row.get(0).filter(|_| row.len() == 1 && columns > 1)?;
    let found = [';', '\t', '|']
        .into_iter()
        .find(|separator| cell.split(|byte| *byte == *separator as u8).count() == columns)?;
    Some(named(found))
}

/// The number of the line that has a column of that name, when titles stand above it. `None` when
/// it is the first line, or not among the first 20.
pub fn header_below(sample: &[u8], column: &str) -> Option<u64> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(sample);
    let mut row = ByteRecord::new();
    for _ in 0..20 {
        if !reader.read_byte_record(&mut row).ok()? {
            return None;
        }
        let is_there = row.iter().any(|cell| clean(&String::from_utf8_lossy(cell)) == column);
        if let Some(line) =
            row.position().map(csv::Position::line).filter(|line| is_there && *line > 1)
        {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_separator_is_found_by_the_header_and_its_rows() {
        for (sample, wants) in [
            (
                "name;date;units\nTema;2024-01-05;12\nAccra;2024-01-06;1,5\n",
                Some("separated by semicolons"),
            ),
            ("name\tdate\nTema\t2024-01-05\n", Some("separated by tabs")),
            ("name|date\nTema|2024-01-05\n", Some("separated by bars (|)")),
            ("name;\"full, long\";units\nTema;\"a;b\";12\n", Some("separated by semicolons")),
            ("name,full;date,x\nTema,1,2\nTema,1,2\n", None),
            ("name\nBank A; annex\n", None),
            ("name;town\nTema\nAccra\nKumasi\n", None),
            ("name,town\nTema;Accra\n", None),
            ("", None),
        ] {
            let found = separator(sample.as_bytes());
            assert!(
                found.as_deref().is_some_and(|found| wants.is_some_and(|w| found.starts_with(w)))
                    || (found.is_none() && wants.is_none()),
                "{sample}: {found:?}"
            );
        }
    }

    #[test]
    fn a_header_below_a_title_is_found() {
        assert_eq!(
            header_below(b"Stock report,,\n,,\nfacility, date ,n\nTema,2024-01-05,1\n", "date"),
            Some(3)
        );
        assert_eq!(header_below(b"facility,date\nTema,x\n", "facility"), None);
        assert_eq!(header_below(b"facility,date\nTema,x\n", "town"), None);
    }
}
