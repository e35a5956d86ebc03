//! Text that is not UTF-8, or was turned into UTF-8 twice: which encoding it has, and what it says.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};

use super::identity::clean;

/// Recognises text in an encoding other than UTF-8. Either its header is not UTF-8, or several
/// lines are not, and few lines have letters that are. When it is a single line, that line is at
/// fault, and not the file. `is_whole`: the sample is the whole file.
pub fn foreign_text(sample: &[u8], is_whole: bool) -> Option<String> {
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

/// The encoding that the bytes, which are not UTF-8, probably have.
fn encoding_of(bytes: &[u8]) -> &'static encoding_rs::Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Decodes text that is not UTF-8 from the encoding that it probably has. Returns the name of that
/// encoding, as programs show it, and the text.
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

/// The original of a text whose UTF-8 was read as Windows-1252 and encoded once more: `Hôpital` for
/// `HÃ´pital`. `None` when the text was not encoded twice.
pub fn encoded_twice(text: &str) -> Option<String> {
    let (bytes, _, has_others) = encoding_rs::WINDOWS_1252.encode(text);
    let meant = std::str::from_utf8(&bytes)
        .ok()
        .filter(|meant| !has_others && !text.is_ascii() && *meant != text)?;
    Some(meant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
