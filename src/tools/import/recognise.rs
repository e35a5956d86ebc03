//! What a file is that is no CSV in UTF-8 with commas, told by its first bytes: the message is then
//! about the file, and not about its row 1.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use csv::{ByteRecord, ReaderBuilder};

use super::identity::clean;

/// How much of a file is looked at before it is read, in bytes.
pub const SAMPLE_BYTES: usize = 64 << 10;

const SAVE_AS: &str = "save it as CSV UTF-8 (comma delimited) there, and import that file";

/// What the file is and what to do, as the rest of a sentence; `None` where it may be CSV in UTF-8.
/// `is_whole`: the sample is all of it.
pub fn foreign(sample: &[u8], is_whole: bool) -> Option<String> {
    container(sample)
        .or_else(|| wide(sample))
        .or_else(|| markup(sample))
        .or_else(|| foreign_text(sample, is_whole))
}

/// Files that are no text, by the bytes with which they begin.
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

/// Text of two or four bytes a character, with its mark or by the zeros that Latin letters and
/// commas leave; and what else is full of zeros.
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

/// HTML, XML, JSON and SQL. A header may begin with a bracket (`[name],[town]`), and is not taken
/// for one of them.
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
            "parted by {}, as its first line says; save it with commas, and without that line",
            named(sign.chars().next()?)
        ),
    })
}

/// Text in an encoding other than UTF-8: the header is none, or several lines are not and hardly
/// any shows letters of UTF-8. Where it is one line alone, that line is at fault and not the file.
fn foreign_text(sample: &[u8], is_whole: bool) -> Option<String> {
    let cut = if is_whole {
        sample.len()
    } else {
        sample.iter().rposition(|byte| *byte == b'\n').unwrap_or(sample.len())
    };
    let sample = &sample[..cut];
    let lines: Vec<&[u8]> = sample.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
    let faulty = |line: &[u8]| {
        std::str::from_utf8(line).is_err_and(|error| is_whole || error.error_len().is_some())
    };
    let bad: Vec<&[u8]> = lines.iter().copied().filter(|line| faulty(line)).collect();
    let good = lines.iter().filter(|line| !line.is_ascii() && !faulty(line)).count();
    let is_foreign = lines.first().is_some_and(|header| faulty(header))
        || (bad.len() > 1 && bad.len() > 4 * good);
    if !is_foreign {
        return None;
    }
    let (encoding, _) = decoded(sample);
    let first = bad.first()?;
    let (text, _) = encoding_of(sample).decode_without_bom_handling(first);
    let shown: String = clean(&text).chars().take(60).collect();
    Some(format!(
        "not UTF-8; it reads as {encoding}, for instance \"{shown}\". Save it as CSV UTF-8, and \
         import that file"
    ))
}

fn encoding_of(bytes: &[u8]) -> &'static encoding_rs::Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Text that is not UTF-8, in the encoding that it probably has, and that encoding's name as
/// programs offer it.
pub fn decoded(bytes: &[u8]) -> (&'static str, String) {
    let encoding = encoding_of(bytes);
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    let name = match encoding.name() {
        "EUC-KR" => "CP949 (EUC-KR, Korean)",
        "Shift_JIS" => "Shift-JIS (Japanese)",
        "GBK" | "gb18030" => "GBK (Chinese)",
        "Big5" => "Big5 (Chinese)",
        "windows-1252" => "Windows-1252 (Latin-1, Western Europe)",
        "windows-1250" => "Windows-1250 (Central Europe)",
        "windows-1251" => "Windows-1251 (Cyrillic)",
        other => other,
    };
    (name, text.into_owned())
}

/// What was meant by a text whose UTF-8 was taken for Windows-1252 on its way and encoded once
/// more: `Hôpital` for `HÃ´pital`.
pub fn encoded_twice(text: &str) -> Option<String> {
    let (bytes, _, has_others) = encoding_rs::WINDOWS_1252.encode(text);
    let meant = std::str::from_utf8(&bytes)
        .ok()
        .filter(|meant| !has_others && !text.is_ascii() && *meant != text)?;
    Some(meant.to_owned())
}

const fn named(separator: char) -> &'static str {
    match separator {
        ';' => "semicolons",
        '\t' => "tabs",
        '|' => "bars (|)",
        ':' => "colons",
        _ => "another character than the comma",
    }
}

/// By what a file is parted whose columns cannot be found with commas, as the rest of a sentence: a
/// character that splits the header further than the comma does, and the lines behind it in as many
/// cells.
pub fn separator(sample: &[u8]) -> Option<String> {
    let by_commas = cells(sample, b',');
    let found = [';', '\t', '|'].into_iter().find(|separator| {
        let counts = cells(sample, *separator as u8);
        let columns = counts.first().copied().unwrap_or(0);
        let alike = counts.iter().filter(|count| **count == columns).count();
        columns > by_commas.first().copied().unwrap_or(0) && alike * 10 >= counts.len() * 8
    })?;
    Some(format!(
        "parted by {}, and commas are expected; save it as CSV UTF-8 (comma delimited). Some \
         spreadsheets take the sign from the system's region",
        named(found)
    ))
}

/// How many cells the first lines have with that separator.
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

/// The separator in a single cell that holds as many values as the header has columns.
pub fn separated_cell(row: &ByteRecord, columns: usize) -> Option<&'static str> {
    let cell = row.get(0).filter(|_| row.len() == 1 && columns > 1)?;
    let found = [';', '\t', '|']
        .into_iter()
        .find(|separator| cell.split(|byte| *byte == *separator as u8).count() == columns)?;
    Some(named(found))
}

/// The number of the line that has a column of that name, where it stands below the first: titles
/// stand above the header.
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

    fn told(sample: &[u8], wants: &str) {
        let what = foreign(sample, true).unwrap_or_else(|| panic!("{wants}: not recognised"));
        assert!(what.contains(wants), "{wants}: {what}");
    }

    fn encoded(label: &str, text: &str) -> Vec<u8> {
        encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(text).0.into_owned()
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn files_of_other_programs_are_called_by_their_kind() {
        told(b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml ...xl/workbook.xml", "an Excel workbook (xlsx); open it");
        told(
            b"PK\x03\x04\x14\x00\x00\x08\x00\x00mimetypeapplication/vnd.oasis.opendocument.spreadsheetPK",
            "OpenDocument spreadsheet (ods)",
        );
        told(b"PK\x03\x04\x14\x00\x00\x00banks.csv", "a zip archive");
        told(
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00",
            "an Excel workbook of the old kind (xls)",
        );
        told(b"%PDF-1.4\n", "a PDF document");
        told(b"\x1f\x8b\x08\x00", "compressed (gzip)");
        told(b"{\\rtf1\\ansi", "word processor");
        told(b"\xef\xbb\xbf<html><table><tr><td>name", "a page of HTML");
        told(b"\n<TABLE border=1>", "a page of HTML");
        told(b"<?xml version=\"1.0\"?><Workbook>", "XML; open it");
        told(b"[{\"name\": \"Tema\"}]", "JSON");
        told(b"{\"name\": \"Tema\"}\n{\"name\": \"Accra\"}\n", "JSON");
        told(b"[\n  [\"name\"],", "JSON");
        told(b"INSERT INTO banks VALUES (1);", "SQL");
        told(b"sep=;\nname;town\n", "parted by semicolons, as its first line says");
        told(b"sep=,\nname,town\n", "delete that line");
        told(&[7, 0, 0, 1, 0, 0, 200, 0, 0, 0, 0, 9].repeat(20), "a binary file");
    }

    #[test]
    fn text_in_other_encodings_is_called_by_their_names() {
        let table = "name,town\nHôpital Général,Saint-Étienne\nCentre régional,Orléans\nHôpital \
                     Nord,Besançon\n";
        told(
            &encoded("windows-1252", table),
            "it reads as Windows-1252 (Latin-1, Western Europe), for instance \"Hôpital \
             Général,Saint-Étienne\"",
        );
        told(
            &encoded(
                "euc-kr",
                "name,town\n서울적십자병원,서울\n부산대학교병원,부산\n중앙혈액원,대전\n",
            ),
            "CP949 (EUC-KR, Korean), for instance \"서울적십자병원",
        );
        told(&encoded("euc-kr", "혈액원,지역\nA,B\n"), "CP949");
        told(
            &encoded("shift_jis", "名前,町\n日本赤十字社の病院,さいたま\n東京都立病院,東京\n"),
            "Shift-JIS (Japanese)",
        );
        told(
            &encoded(
                "gbk",
                "名称,城市\n北京市红十字血液中心,北京\n上海市血液中心,上海\n广州血液中心,广州\n",
            ),
            "GBK (Chinese)",
        );
        told(
            &encoded(
                "windows-1251",
                "название,город\nОбластная станция переливания крови,Тверь\nБольница,Казань\n",
            ),
            "Windows-1251",
        );
        for text in [table, "name,n\n서울,1\n부산,2\n"] {
            let marked = format!("\u{feff}{text}");
            for text in [text, &marked] {
                told(&utf16(text, u16::to_le_bytes), "text in UTF-16");
                told(&utf16(text, u16::to_be_bytes), "text in UTF-16");
                told(
                    &text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<_>>(),
                    "text in UTF-32",
                );
                told(
                    &text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect::<Vec<_>>(),
                    "text in UTF-32",
                );
            }
        }
    }

    #[test]
    fn csv_in_utf8_is_nothing_foreign() {
        for sample in [
            &b"name,town\nTema,Accra\n"[..],
            "\u{feff}name,town\nHôpital,서울\n".as_bytes(),
            b"[name],[town]\nTema,Accra\n",
            b"[id],name\n1,Tema\n",
            b"\"name\"\n\"Tema\"\n",
            b"name\nA < B > C\n",
            b"<name,town\n",
            b"{id},name\n",
            b"",
            b"name",
            b"name,town\nTema,Krak\xf3w\nTema,Accra\n",
            "name\nŁódź\n".as_bytes().strip_suffix(b"\xba\n").unwrap_or(b"name\n"),
        ] {
            assert_eq!(foreign(sample, false), None, "{}", String::from_utf8_lossy(sample));
        }
        // One line that is broken, among others in UTF-8, is a fault of that line.
        let mixed = ["name\nŁódź\nKraków\n".as_bytes(), b"Krak\xf3w\nL\xf3d\n"].concat();
        assert_eq!(foreign(&mixed, true), None);
    }

    #[test]
    fn text_that_was_encoded_twice_is_told_from_other_text() {
        for meant in ["Hôpital", "Kraków", "서울", "Noble Trust’s"] {
            let twice = encoding_rs::WINDOWS_1252.decode_without_bom_handling(meant.as_bytes()).0;
            assert_eq!(
                (encoded_twice(&twice).as_deref(), encoded_twice(meant)),
                (Some(meant), None)
            );
        }
        for text in ["Tema", "São João", "Ångström–Haus", "Ãgua", "Â", "Çã"] {
            assert_eq!(encoded_twice(text), None, "{text}");
        }
    }

    #[test]
    fn another_separator_is_found_by_the_header_and_its_rows() {
        for (sample, wants) in [
            (
                "name;date;units\nTema;2024-01-05;12\nAccra;2024-01-06;1,5\n",
                Some("parted by semicolons"),
            ),
            ("name\tdate\nTema\t2024-01-05\n", Some("parted by tabs")),
            ("name|date\nTema|2024-01-05\n", Some("parted by bars (|)")),
            ("name;\"full, long\";units\nTema;\"a;b\";12\n", Some("parted by semicolons")),
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
