//! Recognises files that are not CSV in UTF-8 with commas by their first bytes. So the message is
//! about the file, and not about its row 1.

use super::{encodings::foreign_text, separators::named};

/// The size of the sample by which a file is recognised, in bytes.
pub const SAMPLE_BYTES: usize = 64 << 10;

const SAVE_AS: &str = "save it as CSV UTF-8 (comma delimited) there, and import that file";

/// What the file is and what to do, as the rest of a sentence; `None` when it may be CSV in UTF-8.
/// `is_whole`: the sample is the whole file.
pub fn foreign(sample: &[u8], is_whole: bool) -> Option<String> {
    container(sample)
        .or_else(|| wide(sample))
        .or_else(|| markup(sample))
        .or_else(|| foreign_text(sample, is_whole))
}

/// Files that are not text, recognised by the bytes with which they begin.
fn container(sample: &[u8]) -> Option<String> {
    let holds = |name: &[u8]| sample.windows(name.len()).any(|window| window == name);
    let opened = |what: &str| Some(format!("{what}; open it in a spreadsheet, {SAVE_AS}"));
    if sample.starts_with(b"PK\x03\x04") || sample.starts_with(b"PK\x05\x06") {
        return if holds(b"xl/")
            || holds(b"[Content_Types].xml") && !holds(b"word/") && !holds(b"ppt/")
        {
            opened("an Excel workbook (xlsx)")
        } else if holds(b"opendocument.spreadsheet") {
            opened("an OpenDocument spreadsheet (ods)")
        } else if holds(b"word/") || holds(b"opendocument.text") {
            opened("a document of a word processor")
        } else {
            Some("a zip archive; unpack it, and import the CSV file within".to_owned())
        };
    }
    if sample.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return opened("an Excel workbook of the old kind (xls), or another file of Office");
    }
    if sample.starts_with(b"%PDF-") {
        return Some("a PDF document; ask for the table as CSV where it comes from".to_owned());
    }
    let packed: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!", "rar"),
    ];
    if let Some((_, kind)) = packed.into_iter().find(|(magic, _)| sample.starts_with(magic)) {
        return Some(format!("compressed ({kind}); unpack it first"));
    }
    let others: [(&[u8], &str); 5] = [
        (b"SQLite format 3\0", "a SQLite database"),
        (b"PAR1", "a Parquet file"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"{\\rtf", "a document of a word processor (RTF)"),
    ];
    let (_, kind) = others.into_iter().find(|(magic, _)| sample.starts_with(magic))?;
    Some(format!("{kind}; a CSV file in UTF-8 is expected"))
}

/// Text with two or four bytes per character. It is recognised by its byte order mark, or by the
/// zeros that Latin letters and commas have. Any other file with many zeros is binary.
fn wide(sample: &[u8]) -> Option<String> {
    let start = &sample[..sample.len().min(4096)];
    let zeros = |from: usize, step: usize| {
        start.iter().skip(from).step_by(step).filter(|byte| **byte == 0).count()
    };
    let quarter = start.len() / 4;
    let kind = match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ if quarter > 0
            && zeros(1, 4) + zeros(2, 4) >= quarter * 9 / 5
            && zeros(0, 4).max(zeros(3, 4)) > quarter / 2 =>
        {
            "UTF-32"
        }
        _ if quarter > 0 && zeros(0, 2).min(zeros(1, 2)) == 0 && zeros(0, 1) > quarter / 2 => {
            "UTF-16"
        }
        _ if zeros(0, 1) > start.len() / 20 => {
            return Some("a binary file; a CSV file in UTF-8 is expected".to_owned());
        }
        _ => return None,
    };
    let whence =
        if kind == "UTF-16" { " (a spreadsheet's \"Unicode text\" is UTF-16)" } else { "" };
    Some(format!(
        "text in {kind}{whence}; save it as CSV UTF-8 (comma delimited), and import that file"
    ))
}

/// HTML, XML, JSON and SQL, and CSV with a line `sep=` at its top. A header may begin with a
/// bracket (`[name],[town]`); it counts as CSV.
fn markup(sample: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&sample[..sample.len().min(2048)]).to_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') && text.contains('>') {
        let what = if ["<!doctype html", "<html", "<table", "<head", "<body", "<style", "<meta"]
            .iter()
            .any(|tag| text.contains(tag))
        {
            "a page of HTML, as many programs export it under the ending .xls"
        } else if text.starts_with("<?xml") || text[1..].starts_with(|c: char| c.is_alphabetic()) {
            "XML"
        } else {
            return None;
        };
        return Some(format!("{what}; open it in a spreadsheet, {SAVE_AS}"));
    }
    let inner = text.get(1..).unwrap_or_default().trim_start();
    let is_json = match text.as_bytes().first() {
        Some(b'{') => inner.starts_with(['"', '}']),
        Some(b'[') => {
            inner.starts_with(['{', '[', ']'])
                || (inner.starts_with('"')
                    && !text.lines().next().unwrap_or_default().contains("],"))
        }
        _ => false,
    };
    if is_json {
        return Some(
            "JSON; events in JSON are posted to /v1/events, and CSV is what is imported".to_owned(),
        );
    }
    if ["insert into ", "create table ", "-- mysql dump", "-- postgresql database dump"]
        .iter()
        .any(|start| text.starts_with(start))
    {
        return Some("a script of SQL; export the table as CSV".to_owned());
    }
    let first = text.lines().next().unwrap_or_default();
    let sign = first.trim_matches('"').strip_prefix("sep=")?;
    Some(match sign {
        "," => "CSV with the line \"sep=,\" at its top, which is for Excel alone; delete that line"
            .to_owned(),
        _ => format!(
            "separated by {}, as its first line says; save it with commas, and without that line",
            named(sign.chars().next()?)
        ),
    })
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
