//! The way from a changed row to its facility: joins of which each leads to one row.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::{BinaryOperator, Expr};

use super::{
    catalogue::Table,
    parsed::{FromTable, Parsed, TableName, stored},
};

/// A step of the way: a table, and the conditions that lead to one row of it.
#[derive(Debug)]
pub(super) struct Step {
    /// Its alias.
    alias: String,
    /// The table with its alias, as in the mapping.
    sql: String,
    conditions: Vec<Expr>,
}

/// All steps, in the order in which they are joined.
#[derive(Debug, Default)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The way from the table with the alias `from` to all of `targets`. `None` where there is none
    /// that leads to one row at each step.
    pub fn find(
        parsed: &Parsed,
        tables: &BTreeMap<TableName, Table>,
        from: &str,
        targets: &BTreeSet<&str>,
    ) -> Option<Path> {
        let mut known = BTreeSet::from([from.to_owned()]);
        let mut steps: Vec<Step> = Vec::new();
        while !targets.iter().all(|target| known.contains(*target)) {
            let (next, conditions) =
                parsed.tables.iter().filter(|next| !known.contains(&next.alias)).find_map(
                    |next| Some((next, one_row(parsed, tables.get(&next.table)?, next, &known)?)),
                )?;
            known.insert(next.alias.clone());
            steps.push(Step { alias: next.alias.clone(), sql: next.sql.clone(), conditions });
        }
        Some(Path(steps).without_detours(parsed, targets))
    }

    /// Leaves out steps that lead to none of the targets.
    fn without_detours(self, parsed: &Parsed, targets: &BTreeSet<&str>) -> Path {
        let mut needed: BTreeSet<String> =
            targets.iter().map(|alias| (*alias).to_owned()).collect();
        let mut kept: Vec<Step> = Vec::new();
        for step in self.0.into_iter().rev() {
            if needed.contains(&step.alias) {
                let uses = step.conditions.iter().flat_map(|one| parsed.uses(one).columns);
                needed.extend(uses.map(|(alias, _)| alias));
                kept.push(step);
            }
        }
        kept.reverse();
        Path(kept)
    }

    /// The columns of the table with this alias that the steps use.
    pub fn columns_of(&self, parsed: &Parsed, alias: &str) -> BTreeSet<String> {
        let conditions = self.0.iter().flat_map(|step| &step.conditions);
        let columns = conditions.flat_map(|condition| parsed.uses(condition).columns);
        columns.filter(|(of, _)| of == alias).map(|(_, column)| column).collect()
    }

    /// The joins, to follow a `FROM` with the changed row.
    pub fn joins(&self) -> String {
        let joins = self.0.iter().map(|Step { sql, conditions, .. }| {
            let conditions: Vec<String> = conditions.iter().map(|one| format!("({one})")).collect();
            format!("\nJOIN {sql} ON {}", conditions.join(" AND "))
        });
        joins.collect()
    }
}

/// The conditions that lead from known tables to one row of `next`: equalities with all columns of
/// one of its unique keys.
fn one_row(
    parsed: &Parsed,
    table: &Table,
    next: &FromTable,
    known: &BTreeSet<String>,
) -> Option<Vec<Expr>> {
    let mut equal: BTreeMap<String, &Expr> = BTreeMap::new();
    for condition in &parsed.conditions {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { continue };
        for (column, value) in [(left, right), (right, left)] {
            let Expr::CompoundIdentifier(names) = &**column else { continue };
            let [alias, name] = names.as_slice() else { continue };
            let value = parsed.uses(value);
            let follows = !value.more && value.columns.iter().all(|(of, _)| known.contains(of));
            if stored(alias) == next.alias && follows {
                equal.insert(stored(name), condition);
            }
        }
    }
    let key = table
        .keys
        .iter()
        .filter(|key| !key.is_empty() && key.iter().all(|column| equal.contains_key(column)))
        .min_by_key(|key| key.len())?;
    Some(key.iter().map(|column| equal[column].clone()).collect())
}
