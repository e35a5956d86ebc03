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
        told(
            b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml \
              ...xl/workbook.xml",
            "an Excel workbook (xlsx); open it",
        );
        told(
            b"PK\x03\x04\x14\x00\x00\x08\x00\x00mimetypeapplication/\
              vnd.oasis.opendocument.spreadsheetPK",
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
        told(b"sep=;\nname;town\n", "separated by semicolons, as its first line says");
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
}
