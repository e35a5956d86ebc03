//! Guesses a first mapping: looks at the catalogue and at some values, and says by names, types,
//! references and values where the facilities and their figures may be. It needs no right to write,
//! and what it may not read it leaves to its reader.

mod activity;
mod blood_types;
mod catalogue;
mod conditions;
pub mod draft;
mod facilities;
mod from;
mod labels;
mod paths;
mod stock;
mod times;
mod vocabulary;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use activity::Happening;
use catalogue::Catalogue;
use draft::{Draft, Read, Source};
use sqlx::{Connection, PgConnection};

use crate::{
    config::DatabaseSettings,
    store::{
        Result,
        postgres::{connect, home::DEFAULT, requirements, session::WAIT_LITTLE},
    },
};

/// The most tables of which values are read.
const MOST_SAMPLED: usize = 200;
/// How much less likely than the first a table may be that is proposed beside it.
const NEARLY: i32 = 8;

/// Looks at the database, and guesses. `timezone`: the zone of all facilities, where it is known.
///
/// # Errors
/// The database cannot be reached, or its catalogue cannot be read.
pub async fn draft(settings: &DatabaseSettings, timezone: Option<&str>) -> Result<Draft> {
    let options = connect::options(settings, &settings.url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    // Nothing is written, and no look at a large table takes long.
    sqlx::raw_sql(
        "SET search_path = pg_catalog, pg_temp; SET default_transaction_read_only = on; SET \
         statement_timeout = '10s'",
    )
    .execute(&mut connection)
    .await?;
    sqlx::raw_sql(WAIT_LITTLE).execute(&mut connection).await?;
    requirements::check_mapped_encoding(&mut connection).await?;
    let ours = settings.schema.as_deref().unwrap_or(DEFAULT);
    let mut catalogue = catalogue::read(&mut connection, ours).await?;
    let sampled = sampled(&catalogue);
    catalogue.sample(&mut connection, sampled).await;
    connection.close().await?;
    Ok(guess(&catalogue, timezone))
}

/// The tables whose values may help: those with a name of the trade, and those they refer to.
fn sampled(catalogue: &Catalogue) -> BTreeSet<usize> {
    let lists = [
        vocabulary::FACILITY,
        vocabulary::STOCK,
        vocabulary::LEDGER,
        vocabulary::DELIVERY,
        vocabulary::REQUEST,
    ];
    let weight = |at: usize| {
        let subject = &catalogue.tables[at].subject;
        lists.iter().map(|list| words::weight_of_table(subject, list)).max().unwrap_or(0)
    };
    let mut named: Vec<(i32, usize)> =
        (0..catalogue.tables.len()).map(|at| (weight(at), at)).collect();
    // Of a small database, every table; of a large one, those of the trade.
    if named.len() > MOST_SAMPLED / 4 {
        named.retain(|(weight, _)| *weight > 0);
    }
    named.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut all: BTreeSet<usize> =
        named.into_iter().map(|(_, at)| at).take(MOST_SAMPLED / 2).collect();
    let referred: Vec<usize> = all
        .iter()
        .flat_map(|at| catalogue.tables[*at].references.iter().map(|to| to.target))
        .take(MOST_SAMPLED / 2)
        .collect();
    all.extend(referred);
    all
}

fn guess(catalogue: &Catalogue, timezone: Option<&str>) -> Draft {
    let mut notations = BTreeMap::new();
    let oddly_named = catalogue.oddly_named.clone();
    let candidates = facilities::candidates(catalogue);
    let Some(&(score, at, key)) = candidates.first() else {
        return Draft { facilities: None, lists: vec![], notations, reads: vec![], oddly_named };
    };
    let mut facilities = facilities::source(catalogue, (at, key), timezone);
    let others = candidates.iter().skip(1).take_while(|(other, ..)| score - other < NEARLY);
    let others: Vec<&str> =
        others.map(|(_, at, _)| catalogue.tables[*at].sql.as_str()).take(3).collect();
    if !others.is_empty() {
        facilities.reasons.push(format!("or are these the facilities: {}?", others.join(", ")));
    }
    let place = (at, key);
    let mut lists = Vec::new();
    let stock = stock::candidates(catalogue, at);
    lists.extend(likeliest(&stock, |one| stock::source(catalogue, one, place, &mut notations)));
    for happening in [Happening::Delivery, Happening::Request] {
        let found = activity::candidates(catalogue, happening, at);
        lists.extend(likeliest(&found, |one| {
            activity::source(catalogue, happening, one, place, &mut notations)
        }));
    }
    let first = lists.iter().filter(|list| list.is_first);
    let used: BTreeSet<(usize, usize)> =
        first.chain([&facilities]).flat_map(|source| source.used.iter().copied()).collect();
    let (reads, facilities) = (reads(catalogue, &used), Some(facilities));
    Draft { reads, facilities, lists, notations, oddly_named }
}

/// The sources of the likeliest tables. The first is to be used.
fn likeliest(candidates: &[(i32, usize)], mut source: impl FnMut(usize) -> Source) -> Vec<Source> {
    let best = candidates.first().map_or(0, |(score, _)| *score);
    let near = candidates.iter().take_while(|(score, _)| best - score < NEARLY).take(3);
    let mut sources: Vec<Source> = near.map(|(_, at)| source(*at)).collect();
    if let Some(first) = sources.first_mut() {
        first.is_first = true;
    }
    sources
}

fn reads(catalogue: &Catalogue, used: &BTreeSet<(usize, usize)>) -> Vec<Read> {
    let mut of_tables: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (table, column) in used {
        of_tables.entry(*table).or_default().push(*column);
    }
    let read = |(at, columns): (usize, Vec<usize>)| {
        let table = &catalogue.tables[at];
        let columns = columns.iter().map(|column| &table.columns[*column]);
        Read {
            schema: table.schema.clone(),
            table: table.sql.clone(),
            is_allowed: columns.clone().all(|column| column.may_read),
            columns: columns.map(|column| column.sql.clone()).collect(),
        }
    };
    of_tables.into_iter().map(read).collect()
}
