//! How what is noted of a changed row of one table leads to facilities.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::Expr;

use super::{
    catalogue::Table,
    column_type::{ColumnType, Noting},
    parsed::{FromTable, Parsed, TableName, stored},
    path::{Path, is_column, null},
    plan::NotedColumn,
    watched_lists::List,
    way_select::{select, value},
};
use crate::{config::sources::TimeKind, store::postgres::home::quoted};

/// How the values of a changed row lead to facilities.
pub(super) struct Way {
    /// The columns whose values are noted.
    pub columns: Vec<NotedColumn>,
    /// The column with the time, and its type, where the instants are noted.
    pub noted: Option<(String, &'static str)>,
    /// Whether the value of the only column is noted as it is.
    pub is_plain: bool,
    /// The facility's key, and the time, of the noted values.
    pub select: String,
}

/// Why a table has no way.
pub(super) struct NoWay {
    /// In words.
    pub words: String,
    /// Whether the mapping names a column that is not there.
    pub is_of_a_missing_column: bool,
}

impl From<String> for NoWay {
    fn from(words: String) -> Self {
        NoWay { words, is_of_a_missing_column: false }
    }
}

/// A list, and the table in it from which ways begin.
struct Begin<'p> {
    list: &'p List<'p>,
    parsed: &'p Parsed,
    tables: &'p BTreeMap<TableName, Table>,
    from: &'p FromTable,
    /// The column with the time, and its type, where the instants are noted.
    noted: Option<(String, &'static str)>,
}

/// A time that is looked up, and how it stands for an instant.
type LookedUp<'p> = Option<(&'p Expr, &'p TimeKind)>;

impl Way {
    /// The way from a changed row of this table; otherwise why there is none.
    pub fn find(
        list: &List,
        parsed: &Parsed,
        tables: &BTreeMap<TableName, Table>,
        from: &FromTable,
    ) -> std::result::Result<Way, NoWay> {
        let types = &tables[&from.table].types;
        let facility = &parsed.expressions[0];
        let uses = parsed.uses(facility);
        let Some(target) = uses.only_alias() else {
            return Err(format!("{facility} is not of one table").into());
        };
        let find = |targets: &[&str]| {
            Path::find(parsed, tables, &from.alias, &targets.iter().copied().collect())
        };
        let at = list.at.as_ref().map(|(_, kind)| (&parsed.expressions[1], kind));
        let noted = at.and_then(|(at, kind)| noted(at, kind, &from.alias, types));
        let begin = Begin { list, parsed, tables, from, noted };
        // Where the time is of another table that the way can lead to, it is looked up there.
        let at_alias = at.and_then(|(at, _)| parsed.uses(at).only_alias().map(str::to_owned));
        // Not where that table leads to the facility through this one: a change here and one of the
        // time, both before the mark is followed, would lead to a pair that no row had. Such a mark
        // has no time, and so is of every day of the facility.
        let is_between = |of: &String| {
            *of != from.alias
                && Path::find(parsed, tables, of, &BTreeSet::from([target]))
                    .is_some_and(|path| target == from.alias || path.leads_over(&from.alias))
        };
        let with_at = at_alias.filter(|of| begin.noted.is_none() && !is_between(of));
        let with_at = with_at.and_then(|of| find(&[target, &of]));
        if let Some(Ok(way)) = with_at.map(|path| begin.way(&path, target, at)) {
            return Ok(way);
        }
        let path = find(&[target]).ok_or_else(|| {
            format!("no unique key leads from {} to one row with {facility}", from.table)
        })?;
        begin.way(&path, target, None)
    }
}

impl Begin<'_> {
    fn way(
        &self,
        path: &Path,
        target: &str,
        looked_up: LookedUp,
    ) -> std::result::Result<Way, NoWay> {
        let Begin { parsed, from, noted, .. } = self;
        let facility = &parsed.expressions[0];
        let at = looked_up.map(|(at, _)| at);
        let is_strict =
            path.is_strict(parsed, None) && is_column(facility) && at.is_none_or(is_column);
        let is_outer = from.is_nullable && !is_strict;
        let is_of_it = |expression: &Expr| {
            !is_column(expression)
                && parsed.uses(expression).columns.iter().any(|(of, _)| *of == from.alias)
        };
        let leads_from_none = (target == from.alias && is_of_it(facility))
            || at.is_some_and(is_of_it)
            || !path.is_strict(parsed, Some(&from.alias));
        if is_outer && !path.is_empty() && leads_from_none {
            return Err(format!(
                "an outer join may leave {} out, and rows count without it where no column of it \
                 leads",
                from.table
            )
            .into());
        }
        let expressions: Vec<&Expr> = [Some(facility), at].into_iter().flatten().collect();
        let columns = self.columns(path, &expressions)?;
        let types = &self.tables[&from.table].types;
        let is_plain =
            matches!(&*columns, [only] if noted.is_none() && types[&only.name].is_plain());
        let named =
            |value: String, column: &NotedColumn| format!("{value} AS {}", quoted(&column.name));
        let row = columns
            .iter()
            .enumerate()
            .map(|(nth, column)| named(value(nth, is_plain, &types[&column.name].sql()), column));
        let mut row = row.collect::<Vec<_>>().join(", ");
        if is_outer && path.is_empty() {
            let none = columns.iter().map(|column| named(null(types.get(&column.name)), column));
            row += &format!(" UNION ALL SELECT {}", none.collect::<Vec<_>>().join(", "));
        }
        let joins = path.joins(parsed, self.tables, (is_strict, &expressions));
        let row = format!("(SELECT {row}) AS {}{joins}", quoted(&from.alias));
        let kind = self.list.at.as_ref().map(|(_, kind)| kind);
        let select = select(facility, &row, kind, looked_up, noted.as_ref(), columns.len());
        Ok(Way { columns, noted: noted.clone(), is_plain, select })
    }

    /// The columns of the changed row that lead to what these expressions are of.
    fn columns(
        &self,
        path: &Path,
        expressions: &[&Expr],
    ) -> std::result::Result<Vec<NotedColumn>, NoWay> {
        let Begin { parsed, from, .. } = self;
        let mut columns = path.columns_of(parsed, &from.alias);
        for expression in expressions {
            let uses = parsed.uses(expression).columns.into_iter();
            columns.extend(uses.filter(|(of, _)| *of == from.alias).map(|(_, column)| column));
        }
        if columns.is_empty() {
            return Err("no column of it leads there".to_owned().into());
        }
        let types = &self.tables[&from.table].types;
        let column = |name: String| {
            let alias = &from.alias;
            let Some(kind) = types.get(&name) else {
                let words = format!("{alias}.{name} is no column");
                return Err(NoWay { words, is_of_a_missing_column: true });
            };
            match kind.noting() {
                Noting::Never => Err(format!(
                    "{alias}.{name} leads there, and is of the type {}, whose text is not the \
                     same in each session",
                    kind.name
                )
                .into()),
                noting => Ok(NotedColumn { name, as_text: noting == Noting::AsText }),
            }
        };
        columns.into_iter().map(column).collect()
    }
}

/// The column with the time, where the trigger notes instants itself: a column of the changed table
/// that means the same in each session.
fn noted(
    at: &Expr,
    kind: &TimeKind,
    alias: &str,
    types: &BTreeMap<String, ColumnType>,
) -> Option<(String, &'static str)> {
    let column = match at {
        Expr::Identifier(name) => stored(name),
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [of, name] if stored(of) == alias => stored(name),
            _ => return None,
        },
        _ => return None,
    };
    match (types.get(&column).filter(|of| of.is_builtin)?.name.as_str(), kind) {
        ("timestamp with time zone", TimeKind::Instant) => Some((column, "timestamptz")),
        (_, TimeKind::Instant) => None,
        ("date" | "timestamp without time zone", _) => Some((column, "timestamp")),
        _ => None,
    }
}
