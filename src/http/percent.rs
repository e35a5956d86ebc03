//! Strict percent-decoding: a `%` without two digits is an error.

use std::borrow::Cow;

/// The decoded text. `plus_is_space` is for query strings. The error says what is wrong with the
/// text.
pub fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, &'static str> {
    if !text.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                high.zip(low)
                    .map(|(high, low)| high << 4 | low)
                    .ok_or("a % needs two hexadecimal digits behind it")?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| "the percent-encoded bytes are not UTF-8")
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_percent_sign_is_an_error() {
        assert_eq!(decode("a%20b+c", true).unwrap(), "a b c");
        assert_eq!(decode("a%20b+c", false).unwrap(), "a b+c");
        assert_eq!(decode("%C5%82", false).unwrap(), "ł");
        for text in ["%", "%2", "%zz", "100%", "%ff", "%C5"] {
            assert!(decode(text, true).is_err(), "{text}");
        }
    }
}
