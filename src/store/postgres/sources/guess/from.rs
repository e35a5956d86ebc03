//! The `from` of a source: a table, and those that are joined to it, each with an alias.

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, Reference, Table};

/// A step along a reference: the table that has it, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub table: usize,
    pub reference: usize,
}

/// The tables of a source.
pub struct From<'a> {
    catalogue: &'a Catalogue,
    base: usize,
    /// The alias of each table, with the steps that lead to it, and whether rows without one stay.
    places: Vec<(Vec<Step>, usize, String, bool)>,
    /// Each table and column that is named.
    used: BTreeSet<(usize, usize)>,
}

impl<'a> From<'a> {
    pub fn new(catalogue: &'a Catalogue, base: usize) -> Self {
        let alias = alias(&catalogue.tables[base], &[]);
        From { catalogue, base, places: vec![(vec![], base, alias, false)], used: BTreeSet::new() }
    }

    pub fn table(&self, steps: &[Step]) -> usize {
        steps.last().map_or(self.base, |step| self.reference(*step).target)
    }

    fn reference(&self, step: Step) -> &'a Reference {
        &self.catalogue.tables[step.table].references[step.reference]
    }

    /// A column of the table to which the steps lead, in SQL. `is_optional`: rows that lead to no
    /// row there are to stay.
    pub fn column(&mut self, steps: &[Step], column: usize, is_optional: bool) -> String {
        // A reference to the very column that is asked for needs no join.
        if let Some((last, before)) = steps.split_last() {
            let reference = self.reference(*last);
            if let ([own], [target]) = (&reference.columns[..], &reference.target_columns[..])
                && *target == column
                && !self.places.iter().any(|(known, ..)| known == steps)
            {
                return self.column(before, *own, is_optional);
            }
        }
        let alias = self.join(steps, is_optional);
        let table = self.table(steps);
        self.used.insert((table, column));
        format!("{alias}.{}", self.catalogue.tables[table].columns[column].sql)
    }

    /// Joins the tables on the way. Returns the alias of the last.
    fn join(&mut self, steps: &[Step], is_optional: bool) -> String {
        if let Some(known) = self.places.iter_mut().find(|(known, ..)| known == steps) {
            known.3 &= is_optional;
            let alias = known.2.clone();
            if let Some((_, before)) = steps.split_last().filter(|_| !is_optional) {
                self.join(before, false);
            }
            return alias;
        }
        let Some((last, before)) = steps.split_last() else { return self.places[0].2.clone() };
        self.join(before, is_optional);
        let reference = self.reference(*last);
        self.used.extend(reference.columns.iter().map(|column| (last.table, *column)));
        let target = reference.target;
        self.used.extend(reference.target_columns.iter().map(|column| (target, *column)));
        let taken: Vec<&str> = self.places.iter().map(|(_, _, alias, _)| alias.as_str()).collect();
        let alias = alias(&self.catalogue.tables[target], &taken);
        self.places.push((steps.to_vec(), target, alias.clone(), is_optional));
        alias
    }

    /// The text of `from`.
    pub fn sql(&self) -> String {
        let mut text = String::new();
        for (steps, table, alias, is_optional) in &self.places {
            let table = &self.catalogue.tables[*table];
            let Some((last, before)) = steps.split_last() else {
                text = format!("{} {alias}", table.sql);
                continue;
            };
            let own = self.places.iter().find(|(known, ..)| known == before);
            let own_alias = own.map_or("", |(_, _, alias, _)| alias);
            let own_columns = &self.catalogue.tables[last.table].columns;
            let reference = self.reference(*last);
            let pairs: Vec<String> = reference
                .columns
                .iter()
                .zip(&reference.target_columns)
                .map(|(column, target)| {
                    let (column, target) = (&own_columns[*column].sql, &table.columns[*target].sql);
                    format!("{alias}.{target} = {own_alias}.{column}")
                })
                .collect();
            let join = if *is_optional { "LEFT JOIN" } else { "JOIN" };
            text += &format!("\n{join} {} {alias} ON {}", table.sql, pairs.join(" AND "));
        }
        text
    }

    pub fn used(&self) -> BTreeSet<(usize, usize)> {
        self.used.clone()
    }
}

/// A letter of the table's name, with a number where the letter is taken. No keyword of SQL is one
/// letter.
fn alias(table: &Table, taken: &[&str]) -> String {
    let letter = table.subject.last().and_then(|word| word.chars().next());
    let letter = letter.filter(char::is_ascii_lowercase).unwrap_or('t');
    let names =
        (1..).map(|nth| if nth == 1 { letter.to_string() } else { format!("{letter}{nth}") });
    names.into_iter().find(|name| !taken.contains(&name.as_str())).unwrap_or_default()
}
