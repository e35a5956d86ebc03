//! Where each key of `[sources]` stands in its file, for messages that are about one.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The line of each key, such as `sources.stock[0].where`.
#[derive(Debug, Clone, Default)]
pub struct Places {
    origin: String,
    lines: BTreeMap<String, usize>,
}

/// A mapping is the same wherever its keys stand.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

impl Places {
    /// The places in this text; `origin` says what messages call it.
    pub(super) fn of(text: &str, origin: &str) -> Self {
        let mut places = Places { origin: origin.to_owned(), lines: BTreeMap::new() };
        if let Ok(table) = DeTable::parse(text) {
            places.add_table("", table.get_ref(), text);
        }
        places
    }

    fn add_table(&mut self, path: &str, table: &DeTable, text: &str) {
        for (key, value) in table {
            let path = match path {
                "" => key.get_ref().to_string(),
                path => format!("{path}.{}", key.get_ref()),
            };
            self.note(&path, key.span().start, text);
            self.add(&path, value, text);
        }
    }

    fn add(&mut self, path: &str, value: &Spanned<DeValue>, text: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(path, table, text),
            DeValue::Array(values) => {
                for (nth, value) in values.iter().enumerate() {
                    let path = format!("{path}[{nth}]");
                    self.note(&path, value.span().start, text);
                    self.add(&path, value, text);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, path: &str, at: usize, text: &str) {
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        self.lines.insert(path.to_owned(), line);
    }

    /// Where the key stands, as in `sources.stock[0].where (line 14 of file sources.toml)`. A key
    /// that has its default stands where its table begins.
    pub fn named(&self, key: &str) -> String {
        let table = key.rsplit_once('.').map_or(key, |(table, _)| table);
        match self.lines.get(key).or_else(|| self.lines.get(table)) {
            Some(line) => format!("{key} (line {line} of {})", self.origin),
            None => key.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn each_key_is_found_by_its_line() {
        let text = "# first\n[sources.facilities]\nfrom = '''a\nb'''\nkey = \"k\"\n\n\
                    [[sources.stock]]\nfrom = \"x\"\n[[sources.stock]]\nfrom = \"y\"\n\
                    where = \"z\"\n[sources]\nnotice = \"rebuild\"\nrequests = [{ at = 'b' }]\n";
        let places = Places::of(text, "file a.toml");
        for (key, line) in [
            ("sources.facilities.from", 3),
            ("sources.facilities.key", 5),
            ("sources.stock[0].from", 8),
            ("sources.stock[1].where", 11),
            ("sources.stock[1].quantity", 9),
            ("sources.requests[0].at", 14),
            ("sources.notice", 13),
        ] {
            assert_eq!(places.named(key), format!("{key} (line {line} of file a.toml)"));
        }
        assert_eq!(places.named("sources.other"), "sources.other (line 12 of file a.toml)");
        assert_eq!(Places::default().named("sources.notice"), "sources.notice");
    }
}
