//! Which tables triggers watch for a mapping, what they note of a changed row, and how that leads
//! to facilities.
//!
//! A trigger joins nothing: it notes the values of the changed row that lead towards the facility.
//! The drain follows them, in the snapshot that shows the mark. So it does not matter what else
//! moves meanwhile: each table on the way has triggers, and the change that is nearest to the
//! facility names the one that the row was in. A time in another table is looked up only where that
//! table leads to the facility without the changed one; otherwise all days of the facility count.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{
    catalogue::{self, Table},
    column_type::ColumnType,
    functions,
    parsed::{self, Parsed, TableName},
    watched_lists::{List, lists_of},
    way::Way,
};
use crate::{
    config::sources::SourcesSettings,
    store::{MarkKind, Result, StoreError},
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
    /// Watched tables that are partitioned.
    pub partitioned: BTreeSet<TableName>,
    /// Columns that the mapping names, and their tables do not have.
    pub lacks_columns: bool,
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
        columns: Vec<NotedColumn>,
    },
    /// Values of the changed row.
    Values {
        /// The kind of the mark.
        kind: &'static str,
        /// The name of the way that they lead.
        way: String,
        /// The columns.
        columns: Vec<NotedColumn>,
        /// The column with the time, and its type. The instants of one day are noted together.
        at: Option<(String, &'static str)>,
        /// Whether the value of the only column is noted as it is, and not in an array of JSON:
        /// that takes a writer less time.
        is_plain: bool,
    },
}

/// A column whose value is noted, or compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NotedColumn {
    /// Its name.
    pub name: String,
    /// Whether that is done with its text, since equal values may differ in it.
    pub as_text: bool,
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
        let functions: String = self.functions(schema).map(|(_, source)| source).collect();
        let text = format!("{schema} {:?} {functions} {:?}", self.watches, self.ways);
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }

    /// The body of the function of each watched table.
    pub fn functions<'p>(
        &'p self,
        schema: &'p str,
    ) -> impl Iterator<Item = (&'p TableName, String)> {
        self.watches.iter().map(move |(table, notes)| {
            (table, functions::source(schema, notes, self.partitioned.contains(table)))
        })
    }

    fn add(&mut self, list: &List, parsed: &Parsed, tables: &BTreeMap<TableName, Table>) {
        let kind = list.kind.as_str();
        for nested in &parsed.nested {
            self.everybody(list, nested, "it is read in a sub-select");
        }
        for from in &parsed.tables {
            if tables[&from.table].kind == "p" {
                self.partitioned.insert(from.table.clone());
            }
            if list.kind == MarkKind::Facility {
                let columns = used_columns(parsed, &from.alias, &tables[&from.table].types);
                self.note(&from.table, Note::Facilities { columns });
                continue;
            }
            match Way::find(list, parsed, tables, from) {
                Err(why) => {
                    self.lacks_columns |= why.is_of_a_missing_column;
                    self.everybody(list, &from.table, &why.words);
                }
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

/// The columns of the table with this alias that the mapping uses; none where it may use others.
fn used_columns(
    parsed: &Parsed,
    alias: &str,
    types: &BTreeMap<String, ColumnType>,
) -> Vec<NotedColumn> {
    let mut columns = BTreeSet::new();
    let conditions = parsed.conditions.iter().map(|one| &one.expression);
    for part in parsed.expressions.iter().chain(conditions) {
        let uses = parsed.uses(part);
        if uses.more {
            return vec![];
        }
        columns.extend(uses.columns.into_iter().filter(|(of, _)| of == alias));
    }
    if parsed.is_unclear {
        return vec![];
    }
    let column = |(_, name): (String, String)| {
        let as_text = types.get(&name).is_some_and(ColumnType::is_compared_as_text);
        NotedColumn { name, as_text }
    };
    columns.into_iter().map(column).collect()
}

fn all_tables(parsed: &Parsed) -> impl Iterator<Item = TableName> {
    parsed.tables.iter().map(|from| from.table.clone()).chain(parsed.nested.iter().cloned())
}

fn refused(list: &str, why: &str) -> StoreError {
    StoreError::Mapping(format!(
        "{list}: triggers cannot notice what changes {why}. Name tables in `from` as \
         schema.table, joined by conditions, or set sources.notice = \"rebuild\": then the figures \
         are read at each rebuild, and for readers who take no older ones"
    ))
}
