//! Which tables triggers watch for a mapping, what they note of a changed row, and how that leads
//! to facilities.
//!
//! A trigger joins nothing: it notes the values of the changed row that lead towards the facility.
//! The drain follows them, in the snapshot that shows the mark. So it does not matter what else
//! moves meanwhile: each table on the way has triggers, and the change that is nearest to the
//! facility names the one that the row was in.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::Expr;
use sqlx::PgConnection;

use super::{
    catalogue::{self, Table},
    parsed::{self, Parsed, TableName, stored},
    path::Path,
    way_select::{is_plain_text, select, value},
};
use crate::{
    config::sources::{SourcesSettings, TimeKind},
    store::{MarkKind, Result, StoreError, postgres::home::quoted},
};

/// The mark of a table that the facilities come from: the mirror finds out what changed.
pub(super) const FACILITIES: &str = "facilities";

/// What triggers watch for one mapping.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What each watched table notes.
    pub watches: BTreeMap<TableName, BTreeSet<Note>>,
    /// A SELECT for each kind of mark that is resolved, by name.
    pub ways: BTreeMap<String, String>,
    /// Tables whose changes mark every facility, with the reason.
    pub everybody: BTreeMap<TableName, String>,
    /// Tables that a crash of the server empties.
    pub unlogged: Vec<String>,
    /// Functions whose results change unseen, each with its list.
    pub unseen: Vec<(String, String)>,
    /// Whether the mapping calls functions other than the server's own. Only looked up where
    /// triggers are made.
    pub calls_functions: bool,
}

/// What a trigger notes of changed rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Note {
    /// Something changed that concerns every facility.
    Everybody {
        /// The kind of the mark.
        kind: &'static str,
    },
    /// A table of facilities changed.
    Facilities {
        /// The columns that facilities depend on; all where it is empty.
        columns: Vec<String>,
    },
    /// Values of the changed row.
    Values {
        /// The kind of the mark.
        kind: &'static str,
        /// The name of the way that they lead.
        way: String,
        /// The columns.
        columns: Vec<String>,
        /// The column with the time, and its type. The instants of one day are noted together.
        at: Option<(String, &'static str)>,
        /// Whether the value of the only column is noted as it is, and not in an array of JSON:
        /// that takes a writer less time.
        is_plain: bool,
    },
}

/// One list of the mapping.
struct List<'s> {
    name: String,
    kind: MarkKind,
    from: &'s str,
    condition: Option<&'s str>,
    facility: &'s str,
    /// The other expressions, which may have sub-selects.
    others: Vec<&'s str>,
    at: Option<(&'s str, TimeKind)>,
}

impl Plan {
    /// The plan of a mapping on its database.
    ///
    /// # Errors
    /// `Mapping`: triggers cannot watch what it reads. The words say what to do.
    pub async fn of(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<Plan> {
        let mut lists = Vec::new();
        for list in lists_of(sources) {
            let mut expressions = vec![list.facility];
            expressions.extend(list.at.as_ref().map(|(at, _)| *at));
            expressions.extend(&list.others);
            let parsed = parsed::parse(list.from, list.condition, &expressions)
                .map_err(|why| refused(&list.name, &why))?;
            lists.push((list, parsed));
        }
        let names: BTreeSet<TableName> = lists.iter().flat_map(|(_, p)| all_tables(p)).collect();
        let tables = catalogue::look_up(connection, &names).await?;
        let unlogged = tables.iter().filter(|(_, table)| table.is_unlogged);
        let unlogged = unlogged.map(|(name, _)| name.to_string()).collect();
        let mut plan = Plan { unlogged, ..Plan::default() };
        for (list, parsed) in &lists {
            for name in all_tables(parsed) {
                if let Some(why) = tables[&name].why_not(&name) {
                    return Err(refused(&list.name, &why));
                }
            }
            plan.add(list, parsed, &tables);
            plan.unseen.extend(parsed.unseen.iter().map(|name| (list.name.clone(), name.clone())));
        }
        Ok(plan)
    }

    /// Another one for each plan: triggers made for one do not fit another.
    pub fn id(&self, schema: &str) -> String {
        let text = format!("{schema} {:?} {:?}", self.watches, self.ways);
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }

    fn add(&mut self, list: &List, parsed: &Parsed, tables: &BTreeMap<TableName, Table>) {
        let kind = list.kind.as_str();
        for nested in &parsed.nested {
            self.everybody(list, nested, "it is read in a sub-select");
        }
        for from in &parsed.tables {
            if list.kind == MarkKind::Facility {
                let columns = used_columns(parsed, &from.alias);
                self.note(&from.table, Note::Facilities { columns });
                continue;
            }
            match Way::find(list, parsed, tables, &from.alias) {
                Err(why) => self.everybody(list, &from.table, &why),
                Ok(way) => {
                    let named = self.way(format!("{}.{}", list.name, from.alias), &way);
                    let Way { columns, noted: at, is_plain, .. } = way;
                    let note = Note::Values { kind, way: named, columns, at, is_plain };
                    self.note(&from.table, note);
                }
            }
        }
    }

    /// The name of the way; that of an equal one where there is one.
    fn way(&mut self, name: String, way: &Way) -> String {
        let equal = self.ways.iter().find(|(_, select)| **select == way.select);
        if let Some((name, _)) = equal {
            return name.clone();
        }
        self.ways.insert(name.clone(), way.select.clone());
        name
    }

    fn everybody(&mut self, list: &List, table: &TableName, why: &str) {
        if list.kind == MarkKind::Facility {
            return self.note(table, Note::Facilities { columns: vec![] });
        }
        self.everybody.insert(table.clone(), format!("{}: {why}", list.name));
        self.note(table, Note::Everybody { kind: list.kind.as_str() });
    }

    fn note(&mut self, table: &TableName, note: Note) {
        self.watches.entry(table.clone()).or_default().insert(note);
    }
}

/// How the values of a changed row lead to facilities.
struct Way {
    /// The columns whose values are noted.
    columns: Vec<String>,
    /// The column with the time, and its type, where the instants are noted.
    noted: Option<(String, &'static str)>,
    /// Whether the value of the only column is noted as it is.
    is_plain: bool,
    /// The facility's key, and the time, of the noted values.
    select: String,
}

impl Way {
    /// The way from a changed row of the table with this alias; otherwise why there is none.
    fn find(
        list: &List,
        parsed: &Parsed,
        tables: &BTreeMap<TableName, Table>,
        alias: &str,
    ) -> std::result::Result<Way, String> {
        let from = parsed
            .tables
            .iter()
            .find(|table| table.alias == alias)
            .expect("the alias was taken from these tables");
        let types = &tables[&from.table].types;
        let facility = &parsed.expressions[0];
        let uses = parsed.uses(facility);
        let Some(target) = uses.only_alias() else {
            return Err(format!("{facility} is not of one table"));
        };
        let find = |targets: &[&str]| {
            Path::find(parsed, tables, alias, &targets.iter().copied().collect())
        };
        let at = list.at.as_ref().map(|(_, kind)| (&parsed.expressions[1], kind));
        let noted = at.and_then(|(at, kind)| noted(at, kind, alias, types));
        // Where the time is of another table that the way can lead to, it is looked up there.
        let at_alias = at.and_then(|(at, _)| parsed.uses(at).only_alias().map(str::to_owned));
        let with_at = at_alias.filter(|_| noted.is_none()).and_then(|of| find(&[target, &of]));
        let looked_up = at.filter(|_| with_at.is_some());
        let path = with_at.or_else(|| find(&[target])).ok_or_else(|| {
            format!(
                "no unique key leads from {}.{} to one row with {facility}",
                from.table.schema, from.table.name
            )
        })?;
        let mut columns = path.columns_of(parsed, alias);
        let of_expressions = [Some(facility), looked_up.map(|(at, _)| at)];
        for expression in of_expressions.into_iter().flatten() {
            let uses = parsed.uses(expression).columns.into_iter();
            columns.extend(uses.filter(|(of, _)| of == alias).map(|(_, column)| column));
        }
        if let Some(unknown) = columns.iter().find(|column| !types.contains_key(*column)) {
            return Err(format!("{alias}.{unknown} is no column"));
        }
        if columns.is_empty() {
            return Err("no column of it leads there".into());
        }
        let columns: Vec<String> = columns.into_iter().collect();
        let is_plain =
            matches!(&*columns, [only] if noted.is_none() && is_plain_text(&types[only]));
        let row: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(nth, column)| value(nth, is_plain, &types[column], &quoted(column)))
            .collect();
        let row = format!("(SELECT {}) AS {}{}", row.join(", "), quoted(alias), path.joins());
        let nth = columns.len();
        let select =
            select(facility, &row, at.map(|(_, kind)| kind), looked_up, noted.as_ref(), nth);
        Ok(Way { columns, noted, is_plain, select })
    }
}

/// The column with the time, where the trigger notes instants itself: a column of the changed table
/// that means the same in each session.
fn noted(
    at: &Expr,
    kind: &TimeKind,
    alias: &str,
    types: &BTreeMap<String, String>,
) -> Option<(String, &'static str)> {
    let column = match at {
        Expr::Identifier(name) => stored(name),
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [of, name] if stored(of) == alias => stored(name),
            _ => return None,
        },
        _ => return None,
    };
    let is_naive = |of: &str| of.starts_with("timestamp") && of.ends_with("without time zone");
    match (types.get(&column)?.as_str(), kind) {
        ("timestamp with time zone", TimeKind::Instant) => Some((column, "timestamptz")),
        (_, TimeKind::Instant) => None,
        ("date", _) => Some((column, "timestamp")),
        (of, _) if is_naive(of) => Some((column, "timestamp")),
        _ => None,
    }
}

/// The columns of the table with this alias that the mapping uses; none where it may use others.
fn used_columns(parsed: &Parsed, alias: &str) -> Vec<String> {
    let mut columns = BTreeSet::new();
    for part in parsed.expressions.iter().chain(&parsed.conditions) {
        let uses = parsed.uses(part);
        if uses.more {
            return vec![];
        }
        columns.extend(uses.columns.into_iter().filter(|(of, _)| of == alias));
    }
    columns.into_iter().map(|(_, column)| column).collect()
}

fn all_tables(parsed: &Parsed) -> impl Iterator<Item = TableName> {
    parsed.tables.iter().map(|from| from.table.clone()).chain(parsed.nested.iter().cloned())
}

fn lists_of(sources: &SourcesSettings) -> Vec<List<'_>> {
    let facilities = &sources.facilities;
    let mut lists = vec![List {
        name: "sources.facilities".into(),
        kind: MarkKind::Facility,
        from: &facilities.from,
        condition: facilities.r#where.as_deref(),
        facility: &facilities.key,
        others: vec![&facilities.name, &facilities.timezone],
        at: None,
    }];
    for (nth, source) in sources.stock.iter().flatten().enumerate() {
        let others =
            [source.blood_type.as_deref(), Some(&*source.quantity), source.expires.as_deref()];
        lists.push(List {
            name: format!("stock[{nth}]"),
            kind: MarkKind::Stock,
            from: &source.from,
            condition: source.r#where.as_deref(),
            facility: &source.facility,
            others: others.into_iter().flatten().collect(),
            at: None,
        });
    }
    for (list, sources) in [("deliveries", &sources.deliveries), ("requests", &sources.requests)] {
        for (nth, source) in sources.iter().flatten().enumerate() {
            lists.push(List {
                name: format!("{list}[{nth}]"),
                kind: MarkKind::Activity,
                from: &source.from,
                condition: source.r#where.as_deref(),
                facility: &source.facility,
                others: source
                    .blood_type
                    .iter()
                    .map(String::as_str)
                    .chain([&*source.quantity])
                    .collect(),
                at: TimeKind::parse(&source.at_as).map(|kind| (&*source.at, kind)),
            });
        }
    }
    lists
}

fn refused(list: &str, why: &str) -> StoreError {
    StoreError::Mapping(format!(
        "{list}: triggers cannot notice what changes {why}. Name tables in `from` as \
         schema.table, joined by conditions, or set sources.notice = \"rebuild\": then the figures \
         are read at each rebuild, and for readers who take no older ones"
    ))
}
