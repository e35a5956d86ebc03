//! Where the figures come from: our own tables, or those of an operational database that
//! `[sources]` maps. With a mapping, our table `facilities` mirrors the mapped ones.

pub mod check;
mod figures;
pub mod guess;
mod keys;
mod latest;
mod lists;
mod mapping;
mod mirror;
mod missing_index;
pub mod notice;
mod odd_rows;
mod owners_check;
pub mod plain;
mod shape;

use std::sync::{Arc, atomic::AtomicBool};

use sqlx::PgConnection;

use crate::{
    config::sources::SourcesSettings,
    store::{Result, SourceChange},
};
pub(super) use mapping::Mapping;
pub use mapping::accept;
use odd_rows::OddRows;
pub(super) use owners_check::check as owners_check;

/// What the owner has changed in the mapped tables, or that another mapping of them counts.
pub(super) async fn changes(
    connection: &mut PgConnection,
    mapping: &Mapping,
) -> Result<Vec<SourceChange>> {
    if let Some(change) = mapping.latest.change(&mut *connection).await? {
        return Ok(vec![change]);
    }
    let mut changes = match shape::Shape::stored(&mut *connection).await? {
        Some(shape) => shape.changes(&mut *connection).await?,
        None => Vec::new(),
    };
    changes.extend(mapping.left());
    let owners = notice::may_not_part(connection).await?;
    changes.extend(owners.into_iter().map(|text| SourceChange { text, breaks: false }));
    Ok(changes)
}

/// What cannot be known of these sources: how old the tables of other servers are.
pub(super) async fn limits(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<Option<String>> {
    let foreign = shape::foreign_tables(connection, sources).await?;
    let limit = (!foreign.is_empty()).then(|| {
        format!(
            "{} are foreign tables: the age of each answer counts from when they were read, and \
             what their server lags behind its primary is not in it",
            foreign.join(", ")
        )
    });
    limit.iter().for_each(|limit| tracing::warn!("{limit}"));
    Ok(limit)
}

/// The statements that read sources, or facilities.
#[derive(Debug)]
pub(super) struct SourceStatements {
    /// Whether there is a mapping.
    pub is_mapped: bool,
    /// The mapped rows that did not count when their days were last derived.
    pub odd_rows: OddRows,
    /// Whether other programs write the sources without marks, as of the last drain snapshot.
    pub are_unwatched: AtomicBool,
    /// Derives days.
    pub derive: Arc<str>,
    /// Compares stored days with their sources.
    pub audit: Arc<str>,
    /// Finds the days with data.
    pub activity: Arc<str>,
    /// All facilities, from our table.
    pub all_facilities: Arc<str>,
    /// Some facilities, from our table.
    pub facilities: Arc<str>,
    /// Some facilities, as they are in this transaction's snapshot.
    pub facilities_now: Arc<str>,
}

const DERIVE: &str = include_str!("../../../../sql/postgres/derive.sql");
const DERIVE_SELECT: &str = include_str!("../../../../sql/postgres/derive_select.sql");
const AUDIT_SELECT: &str = include_str!("../../../../sql/postgres/audit_select.sql");
const ACTIVITY: &str = include_str!("../../../../sql/postgres/activity.sql");
const FACILITIES: &str = include_str!("../../../../sql/postgres/facilities.sql");
const ALL_FACILITIES: &str = include_str!("../../../../sql/postgres/all_facilities.sql");

impl SourceStatements {
    /// The statements for this mapping; for our own tables where there is none.
    pub fn of(sources: Option<&SourcesSettings>) -> Self {
        let (mut derive, mut activity) = (DERIVE.to_owned(), ACTIVITY.to_owned());
        let (mut facilities, mut all_facilities) =
            (FACILITIES.to_owned(), ALL_FACILITIES.to_owned());
        let mut facilities_now = facilities.clone();
        let (mut derive_select, mut audit_select) =
            (DERIVE_SELECT.to_owned(), AUDIT_SELECT.to_owned());
        if let Some(sources) = sources {
            derive = with_part(&derive, "zone", &figures::zone(&sources.facilities));
            let branches = figures::branches(sources);
            let branches: String =
                branches.iter().map(|branch| format!("UNION ALL\n{}\n", branch.select)).collect();
            derive = with_part(&derive, "figures", &branches);
            derive = odd_rows::with_odd(&with_stock_below_0(&derive));
            (derive_select, audit_select) = odd_rows::selects();
            if sources.stock.is_none() {
                derive = without_stock(&derive);
            }
            activity = with_part(&activity, "instants", &figures::instants(sources));
            facilities_now =
                with_part(&facilities, "facilities", &figures::facilities(&sources.facilities));
            facilities_now = with_part(&facilities_now, "key", figures::KEY);
            facilities = with_part(&facilities, "key", figures::KEY);
            all_facilities = with_part(&all_facilities, "key", figures::KEY);
        }
        SourceStatements {
            is_mapped: sources.is_some(),
            are_unwatched: AtomicBool::new(sources.is_some()),
            odd_rows: OddRows::default(),
            audit: format!("{derive}{audit_select}").into(),
            derive: format!("{derive}{derive_select}").into(),
            activity: activity.into(),
            all_facilities: all_facilities.into(),
            facilities: facilities.into(),
            facilities_now: facilities_now.into(),
        }
    }
}

/// The derive statement where a closed day may have kept a stock below 0: a ledger of another
/// program may have more issues than receipts, and its days close with what they showed.
fn with_stock_below_0(derive: &str) -> String {
    let (of_type, total) = ("@ < 0 ||", "greatest(old.total_stock, 0)");
    assert!(derive.contains(total) && derive.contains(of_type), "the statement has these parts");
    derive
        .replace(of_type, "@ < -1000000000000000 ||")
        .replace(total, "greatest(old.total_stock, -1000000000000000)")
}

/// The derive statement where the stock is not known: null, also of a day that then closes.
fn without_stock(derive: &str) -> String {
    let (total, of_type) =
        ("CASE WHEN key.is_today THEN coalesce(sums.stock, 0)", "key.is_today OR");
    assert!(derive.contains(total) && derive.contains(of_type), "the statement has these parts");
    derive
        .replace(total, "CASE WHEN key.is_today THEN NULL::bigint")
        .replace(of_type, "NOT key.is_today AND")
}

/// The statement with another text in the place of what reads our own tables for `part`: from the
/// line `-- own tables: <part>` to the line `-- end`.
fn with_part(statement: &str, part: &str, text: &str) -> String {
    let begin = format!("-- own tables: {part}\n");
    let (before, rest) = statement.split_once(&begin).expect("the statement has this part");
    let (_, after) = rest.split_once("-- end\n").expect("the part has an end");
    format!("{before}{text}\n{after}")
}
