//! What was merged into one facility: rows that name it again, and names that differ only in their
//! spelling.

use std::{collections::HashMap, fmt};

use uuid::Uuid;

use crate::{domain::names::spelled, tools::counted};

/// How many facilities are named for each of the two; the others are only counted.
const NAMED: usize = 5;
/// How many lines, and how many spellings, are named for a facility.
const LISTED: usize = 4;

/// What was merged. Its size grows with the facilities and spellings of a file, not with its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows that state a facility which an earlier row has stated.
    pub repeated_rows: u64,
    /// For each facility that rows state: its name in the first row, and the lines of the first few
    /// rows.
    stated: HashMap<Uuid, (String, Vec<u64>)>,
    /// The first few facilities that are stated again.
    repeated: Vec<Uuid>,
    /// The spellings of each facility's name, with their lines; `None` for that of the
    /// registration.
    spellings: HashMap<Uuid, Vec<(String, Option<u64>)>>,
    /// Facilities with several spellings, in the order of the file.
    respelled: Vec<Uuid>,
}

impl Merged {
    /// Counts a row that states this facility.
    pub fn row(&mut self, id: Uuid, name: &str, line: u64) {
        let (_, lines) = self.stated.entry(id).or_insert_with(|| (name.to_owned(), Vec::new()));
        if !lines.is_empty() {
            self.repeated_rows += 1;
            if self.repeated.len() < NAMED && !self.repeated.contains(&id) {
                self.repeated.push(id);
            }
        }
        if lines.len() <= LISTED {
            lines.push(line);
        }
    }

    /// Remembers the spelling of the facility's name in a row, and that in its registration when it
    /// differs.
    pub fn spelling(&mut self, id: Uuid, registered: Option<&str>, given: &str, line: u64) {
        let spellings = self.spellings.entry(id).or_default();
        if spellings.is_empty() {
            spellings.extend(registered.map(|name| (name.to_owned(), None)));
        }
        if spellings.iter().any(|(known, _)| known == given) {
            return;
        }
        spellings.push((given.to_owned(), Some(line)));
        if spellings.len() == 2 {
            self.respelled.push(id);
        }
    }

    /// The number of facilities whose name has several spellings.
    pub const fn respelled(&self) -> usize {
        self.respelled.len()
    }
}

impl fmt::Display for Merged {
    /// One line for repeated rows and one for spellings, when there are any; each begins with a
    /// line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repeated_rows > 0 {
            let (rows, facilities) =
                (self.repeated_rows + self.stated.len() as u64, self.stated.len());
            write!(
                f,
                "\n{rows} rows, {}: {} a facility that an earlier row names, and {} one with it, \
                 such as ",
                counted(facilities as u64, "facility", "facilities"),
                counted(self.repeated_rows, "row names", "rows name"),
                if self.repeated_rows == 1 { "is" } else { "are" }
            )?;
            let examples = self.repeated.iter().filter_map(|id| self.stated.get(id));
            let example = |(name, lines): &(String, Vec<u64>)| {
                format!("\"{name}\" (lines {})", listed(lines.iter().map(u64::to_string)))
            };
            f.write_str(&examples.map(example).collect::<Vec<_>>().join(", "))?;
        }
        if !self.respelled.is_empty() {
            let facilities = if self.respelled.len() == 1 {
                "1 facility has".to_owned()
            } else {
                format!("{} facilities have", self.respelled.len())
            };
            write!(f, "\n{facilities} several spellings that look alike and count as one name: ")?;
            let examples =
                self.respelled.iter().take(NAMED).filter_map(|id| self.spellings.get(id));
            let spelling = |(name, line): &(String, Option<u64>)| match line {
                Some(line) => format!("\"{}\" (line {line})", spelled(name)),
                None => format!("\"{}\" (registered)", spelled(name)),
            };
            f.write_str(
                &examples
                    .map(|spellings| listed(spellings.iter().map(spelling)))
                    .collect::<Vec<_>>()
                    .join("; "),
            )?;
            if self.respelled.len() > NAMED {
                f.write_str("; …")?;
            }
        }
        Ok(())
    }
}

/// The first few items, with commas between them.
fn listed(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.take(LISTED + 1).collect();
    if items.len() > LISTED {
        items[LISTED] = "…".to_owned();
    }
    items.join(", ")
}
