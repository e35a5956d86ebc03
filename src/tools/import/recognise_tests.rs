//! Tests of `recognise.rs`.

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
    told(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00", "an Excel workbook of the old kind (xls)");
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
