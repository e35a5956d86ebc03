//! Which columns hold the blood type of a row: one with the whole type, or two with the group and
//! the factor; in the row's own table, or in one that it refers to.

use std::collections::BTreeMap;

use super::{
    catalogue::{Catalogue, Column, Kind},
    from::{From, Step},
    vocabulary::NOT_THE_PLACE,
    words::has,
};
use crate::domain::blood_type::BloodType;

/// Where the blood type is.
#[derive(Debug, Clone)]
pub struct Found {
    steps: Vec<Step>,
    columns: Columns,
    /// How certain it is, from 1 to 20.
    pub weight: i32,
}

#[derive(Debug, Clone)]
enum Columns {
    Whole(usize),
    Split { group: usize, factor: usize },
}

/// Texts that are no usual notation, with what they seem to mean.
pub type Notations = BTreeMap<String, Option<BloodType>>;

/// The blood type of the rows of a table.
pub fn find(catalogue: &Catalogue, base: usize, facilities: usize) -> Option<Found> {
    let mut found = Vec::new();
    let mut places = vec![vec![]];
    for _ in 0..3 {
        let mut next = Vec::new();
        for steps in places {
            let table = end(catalogue, base, &steps);
            found.extend(in_table(catalogue, table, &steps));
            next.extend(further(catalogue, table, facilities, &steps));
        }
        places = next;
    }
    found.into_iter().max_by_key(|found| found.weight)
}

fn end(catalogue: &Catalogue, base: usize, steps: &[Step]) -> usize {
    steps.last().map_or(base, |step| catalogue.tables[step.table].references[step.reference].target)
}

/// The steps to the tables that a table refers to, without facilities and people.
fn further(
    catalogue: &Catalogue,
    table: usize,
    facilities: usize,
    steps: &[Step],
) -> Vec<Vec<Step>> {
    let references = catalogue.tables[table].references.iter().enumerate();
    let fitting = references.filter(|(_, to)| {
        let is_person = has(&catalogue.tables[to.target].subject, NOT_THE_PLACE);
        to.target != facilities && to.target != table && !is_person
    });
    fitting.map(|(reference, _)| [steps, &[Step { table, reference }]].concat()).collect()
}

fn in_table(catalogue: &Catalogue, table: usize, steps: &[Step]) -> Vec<Found> {
    let columns = &catalogue.tables[table].columns;
    let far = steps.len() as i32;
    let mut found = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let weight = whole(column) - far;
        if weight > 4 {
            found.push(Found { steps: steps.to_vec(), columns: Columns::Whole(at), weight });
        }
    }
    let best = |weigh: fn(&Column) -> i32| {
        let weighed = columns.iter().enumerate().map(|(at, column)| (weigh(column), at));
        weighed.max().filter(|(weight, _)| *weight > 0).map(|(_, at)| at)
    };
    if let (Some(group), Some(factor)) = (best(group), best(factor)) {
        let columns = Columns::Split { group, factor };
        found.push(Found { steps: steps.to_vec(), columns, weight: 14 - far });
    }
    found
}

/// Whether a column has whole types: by its values, or by its name where there are none.
fn whole(column: &Column) -> i32 {
    if !matches!(column.kind, Kind::Text | Kind::Enum) {
        return 0;
    }
    let name = has(&column.words, &["blood"]) as i32
        + 2 * has(&column.words, &["abo", "bloodgroup", "bloodtype", "group"]) as i32
        + has(&column.words, &["type", "rh", "product"]) as i32;
    let (mut usual, mut other, mut all) = (0, 0, 0);
    for (text, count) in counted(column) {
        all += count;
        if BloodType::from_notation(&text).is_some() {
            usual += count;
        } else if read(&text).is_some() {
            other += count;
        }
    }
    if all == 0 {
        return if name >= 2 { 6 + name } else { 0 };
    }
    let of = |part: u64| (10 * part / all) as i32;
    match of(usual + other) {
        0..5 => 0,
        _ => of(usual) + of(other) / 2 + name,
    }
}

/// The values of a column with their numbers; each label of an enum once where no row was read.
fn counted(column: &Column) -> Vec<(String, u64)> {
    let seen = column.values.as_ref().map(|values| values.seen.clone()).unwrap_or_default();
    match column.kind {
        Kind::Enum if seen.is_empty() => column.labels.iter().map(|l| (l.clone(), 1)).collect(),
        _ => seen.into_iter().filter(|(value, _)| !value.trim().is_empty()).collect(),
    }
}

fn group(column: &Column) -> i32 {
    let is_group =
        |text: &str| ["A", "B", "AB", "O", "0"].contains(&text.trim().to_uppercase().as_str());
    part(column, is_group, &["abo", "group", "bloodgroup"])
}

fn factor(column: &Column) -> i32 {
    let is_sign = |text: &str| sign(text).is_some();
    part(column, is_sign, &["rh", "rhd", "rhesus", "factor"])
}

fn part(column: &Column, is_one: impl Fn(&str) -> bool, names: &[&str]) -> i32 {
    let named = has(&column.words, names);
    let is_flag = column.kind == Kind::Boolean;
    let has_texts = matches!(column.kind, Kind::Text | Kind::Enum);
    if !(has_texts || is_flag && named) {
        return 0;
    }
    let values = counted(column);
    let all: u64 = values.iter().map(|(_, count)| count).sum();
    let fitting: u64 = values.iter().filter(|(text, _)| is_one(text)).map(|(_, count)| count).sum();
    match all {
        0 => 3 * i32::from(named),
        _ if is_flag => 3,
        _ if fitting * 10 >= all * 9 => 5 + 2 * i32::from(named),
        _ => 0,
    }
}

fn sign(text: &str) -> Option<char> {
    // As the factor of a whole type: the notations are those of the domain.
    let of = |sign| BloodType::from_notation(&format!("O{sign}"));
    let text = text.trim();
    let text = text.strip_prefix(['D', 'd']).filter(|rest| !rest.is_empty()).unwrap_or(text);
    match of(text)? {
        BloodType::OPositive => Some('+'),
        BloodType::ONegative => Some('-'),
        _ => None,
    }
}

/// What a text that is no usual notation seems to mean, such as `PosAB` or `RBC-OP`.
fn read(text: &str) -> Option<BloodType> {
    let capital = text.trim().to_uppercase();
    let signs = [("POSITIVE", "+"), ("NEGATIVE", "-"), ("POS", "+"), ("NEG", "-")];
    let turned = signs.iter().find_map(|(word, sign)| {
        let group = capital.strip_prefix(word)?.trim_start_matches(['_', '-', ' ']);
        BloodType::from_canonical(&format!("{group}{sign}"))
    });
    if turned.is_some() {
        return turned;
    }
    let parts = capital.split(|c: char| !c.is_alphanumeric() && c != '+');
    let mut types = parts.filter(|part| part.len() > 1).filter_map(BloodType::from_notation);
    let first = types.next()?;
    types.next().is_none().then_some(first)
}

impl Found {
    /// The expression of the blood type. Texts that are no usual notation go into `notations`.
    pub fn expression(
        &self,
        catalogue: &Catalogue,
        from: &mut From,
        notations: &mut Notations,
    ) -> String {
        let table = &catalogue.tables[from.table(&self.steps)];
        let is_optional = !self.steps.is_empty();
        match self.columns {
            Columns::Whole(at) => {
                for (text, _) in counted(&table.columns[at]) {
                    if BloodType::from_notation(&text).is_none() {
                        notations.entry(text.clone()).or_insert_with(|| read(&text));
                    }
                }
                from.column(&self.steps, at, is_optional)
            }
            Columns::Split { group, factor } => {
                let text = |from: &mut From, at: usize| {
                    let column = from.column(&self.steps, at, is_optional);
                    match table.columns[at].kind {
                        Kind::Enum => format!("{column}::text"),
                        Kind::Boolean => {
                            format!("CASE WHEN {column} THEN '+' WHEN NOT {column} THEN '-' END")
                        }
                        _ => column,
                    }
                };
                format!("{} || {}", text(from, group), text(from, factor))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_notation_are_read_where_they_say_one_type() {
        for (text, expected) in [
            ("PosO", Some("O+")),
            ("NegAB", Some("AB-")),
            ("POSITIVE_B", Some("B+")),
            ("RBC-OP", Some("O+")),
            ("WB A- 450", None),
            ("PLT", None),
            ("plasma", None),
        ] {
            assert_eq!(read(text).map(BloodType::as_str), expected, "{text}");
        }
        assert_eq!(
            ["+", "neg", "POSITIVE", "x", ""].map(sign),
            [Some('+'), Some('-'), Some('+'), None, None]
        );
    }
}
