//! Lines of the log have a greatest length: a statement that was slow may have 25 KB of SQL.

use std::io::{self, Write};

use serde_json::Value;

/// A longer line is cut.
const MOST: usize = 8_192;
/// What is left of each text in it.
const LEFT: usize = 1_000;

/// Writes lines, and cuts the texts of long ones.
pub struct Bounded<W> {
    inner: W,
    is_json: bool,
}

impl<W: Write> Bounded<W> {
    /// Writes to this. `is_json`: each line is an object, and stays one.
    pub fn new(inner: W, is_json: bool) -> Self {
        Bounded { inner, is_json }
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() <= MOST {
            self.inner.write_all(line)?;
            return Ok(line.len());
        }
        let object = if self.is_json { serde_json::from_slice(line).ok() } else { None };
        let mut short = match object {
            Some(mut object) => {
                shorten(&mut object);
                object.to_string()
            }
            None => cut(String::from_utf8_lossy(line).trim_end(), MOST),
        };
        short.push('\n');
        self.inner.write_all(short.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LEFT => *text = cut(text, LEFT),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(values) => values.values_mut().for_each(shorten),
        _ => {}
    }
}

/// The beginning of a text, and how many bytes it had.
fn cut(text: &str, most: usize) -> String {
    format!("{} … ({} bytes in all)", &text[..text.floor_char_boundary(most)], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, is_json: bool) -> String {
        let mut inner = Vec::new();
        Bounded::new(&mut inner, is_json).write_all(line.as_bytes()).expect("it can be written");
        String::from_utf8(inner).expect("UTF-8")
    }

    #[test]
    fn a_long_line_is_cut_and_says_so_and_a_short_one_stays() {
        let short = "{\"level\":\"WARN\"}\n";
        assert_eq!(written(short, true), short);
        let sql = "SELECT é ".repeat(3_000);
        let line = serde_json::json!({"level": "WARN", "fields": {"db.statement": sql}});
        let cut = written(&format!("{line}\n"), true);
        assert!(cut.len() < 1_500 && cut.ends_with("}\n"), "{cut}");
        let object: Value = serde_json::from_str(&cut).expect("it is still JSON");
        assert_eq!(object["level"], "WARN");
        let text = object["fields"]["db.statement"].as_str().expect("a text");
        assert!(text.ends_with("(30000 bytes in all)"), "{text}");
        let cut = written(&format!("WARN {sql}\n"), false);
        assert!(cut.len() < MOST + 100 && cut.ends_with("bytes in all)\n"), "{cut}");
    }
}
