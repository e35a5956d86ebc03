//! The way from a changed row to its facility: joins of which each leads to one row.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::{BinaryOperator, Expr};

use super::{
    catalogue::Table,
    column_type::ColumnType,
    parsed::{Condition, FromTable, Parsed, TableName, stored},
};
use crate::store::postgres::home::quoted;

/// A step of the way: a table, and the conditions that lead to one row of it.
#[derive(Debug)]
pub(super) struct Step {
    /// Its alias.
    alias: String,
    /// The table with its alias, as in the mapping.
    sql: String,
    conditions: Vec<Expr>,
    /// The table, where an outer join may leave it out.
    nullable: Option<TableName>,
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
                    |next| {
                        let table = tables.get(&next.table)?;
                        Some((next, one_row(parsed, table, next, (from, &known))?))
                    },
                )?;
            known.insert(next.alias.clone());
            steps.push(Step {
                alias: next.alias.clone(),
                sql: next.sql.clone(),
                conditions,
                nullable: next.is_nullable.then(|| next.table.clone()),
            });
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

    /// Whether a step is to the table with this alias.
    pub fn leads_over(&self, alias: &str) -> bool {
        self.0.iter().any(|step| step.alias == alias)
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing follows from a table that an outer join leaves out: each condition compares
    /// columns as they are. With `of`, only conditions that use the table with this alias.
    pub fn is_strict(&self, parsed: &Parsed, of: Option<&str>) -> bool {
        self.0.iter().all(|step| {
            step.conditions.iter().all(|condition| {
                let is_about = of.is_none_or(|alias| {
                    parsed.uses(condition).columns.iter().any(|(used, _)| used == alias)
                });
                let Expr::BinaryOp { left, right, .. } = condition else { return !is_about };
                !is_about || (is_column(left) && is_column(right))
            })
        })
    }

    /// The joins, to follow a `FROM` with the changed row. Where something follows from a table
    /// that an outer join leaves out, both the row that is led to and none are gone on with: the
    /// join may have more conditions than those of the key.
    pub fn joins(
        &self,
        parsed: &Parsed,
        tables: &BTreeMap<TableName, Table>,
        (is_strict, used): (bool, &[&Expr]),
    ) -> String {
        let joins = self.0.iter().map(|Step { alias, sql, conditions, nullable }| {
            let conditions: Vec<String> = conditions.iter().map(|one| format!("({one})")).collect();
            let conditions = conditions.join(" AND ");
            let Some(table) = nullable.as_ref().filter(|_| !is_strict) else {
                return format!("\nJOIN {sql} ON {conditions}");
            };
            let mut columns = self.columns_of(parsed, alias);
            for expression in used {
                let uses = parsed.uses(expression).columns.into_iter();
                columns.extend(uses.filter(|(of, _)| of == alias).map(|(_, column)| column));
            }
            let alias = quoted(alias);
            let of = |column: &String| format!("{alias}.{}", quoted(column));
            let present: Vec<String> = columns.iter().map(of).collect();
            let types = &tables[table].types;
            let absent: Vec<String> =
                columns.iter().map(|column| null(types.get(column))).collect();
            format!(
                "\nCROSS JOIN LATERAL (SELECT {} FROM {sql} WHERE {conditions} UNION ALL SELECT \
                 {}) AS {alias}",
                present.join(", "),
                absent.join(", ")
            )
        });
        joins.collect()
    }
}

/// No value of this type.
pub(super) fn null(kind: Option<&ColumnType>) -> String {
    kind.map_or_else(|| "NULL".into(), |kind| format!("NULL::{}", kind.sql()))
}

/// Whether the expression is a column, with casts or without: it is null where the column is.
pub(super) fn is_column(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_column(inner),
        Expr::Cast { expr, .. } => is_column(expr),
        _ => false,
    }
}

/// The conditions that lead from known tables to one row of `next`: equalities with all columns of
/// one of its unique keys. Those of an outer join hold where the row that changed is of a table
/// that the join may leave out, and lead to `next` or to none where `next` is.
fn one_row(
    parsed: &Parsed,
    table: &Table,
    next: &FromTable,
    (from, known): (&str, &BTreeSet<String>),
) -> Option<Vec<Expr>> {
    let holds = |condition: &&Condition| {
        let without = condition.holds_without.as_ref();
        without.is_none_or(|without| without.contains(&next.alias) || without.contains(from))
    };
    let mut equal: BTreeMap<String, &Expr> = BTreeMap::new();
    for condition in parsed.conditions.iter().filter(holds).map(|one| &one.expression) {
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
