//! Where the figures come from: our own tables, or those of an operational database that
//! `[sources]` maps. With a mapping, our table `facilities` mirrors the mapped ones.

pub mod check;
mod doubts;
mod failing_list;
mod figures;
pub mod guess;
mod keys;
mod latest;
mod lists;
mod mapping;
mod mirror;
mod misfit;
mod missing_index;
mod nameable;
mod notations;
pub mod notice;
mod odd_rows;
mod owners_check;
pub mod plain;
mod shape;
mod spare_rights;
mod zones;

use std::sync::{Arc, atomic::AtomicBool};

use sqlx::PgConnection;

use crate::{
    config::sources::SourcesSettings,
    domain::summary::KnownFigures,
    store::{Result, SourceChange, SourceState, postgres::failing::Failing},
};
pub(super) use mapping::Mapping;
pub use mapping::accept;
use odd_rows::OddRows;
pub(super) use owners_check::check as owners_check;

/// What the owner has changed in the mapped tables, or that another mapping of them counts; and how
/// far they are behind. Facilities that are not followed, and owners who can make no partition, are
/// among the changes.
pub(super) async fn state(connection: &mut PgConnection, mapping: &Mapping) -> Result<SourceState> {
    let Some(shape) = shape::Shape::stored(&mut *connection).await? else {
        return Ok(SourceState::default());
    };
    let lags = shape.lags(&mut *connection).await?;
    if let Some(change) = mapping.latest.change(&mut *connection).await? {
        return Ok(SourceState { changes: vec![change], lags });
    }
    let mut changes = shape.changes(&mut *connection).await?;
    changes.extend(mapping.left());
    let owners = notice::may_not_part(connection).await?;
    changes.extend(owners.into_iter().map(|text| SourceChange { text, breaks: false }));
    Ok(SourceState { changes, lags })
}

/// What cannot be known of these sources: how old the tables of other servers are, and by which
/// rules of time zones local times are instants.
pub(super) async fn limits(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<Vec<String>> {
    let foreign = shape::foreign_tables(&mut *connection, sources).await?;
    let of_foreign = (!foreign.is_empty()).then(|| {
        format!(
            "{} are foreign tables: the age of each answer counts from when they were read, and \
             what their server lags behind its primary is not in it",
            foreign.join(", ")
        )
    });
    let of_zones = match zones::differing(connection, sources).await {
        // The tables of facilities do not fit, which is said elsewhere.
        Err(error @ sqlx::Error::Database(_)) => {
            tracing::debug!(%error, "the zones of facilities cannot be read");
            None
        }
        differing => differing?,
    };
    let limits: Vec<String> = of_foreign.into_iter().chain(of_zones).collect();
    limits.iter().for_each(|limit| tracing::warn!("{limit}"));
    Ok(limits)
}

/// The statements that read sources, or facilities.
#[derive(Debug)]
pub(super) struct SourceStatements {
    /// Whether there is a mapping.
    pub is_mapped: bool,
    /// The figures that have a list.
    pub known: KnownFigures,
    /// Derives days from one list each, by its name: to find the one that fails.
    pub of_lists: Vec<(String, String)>,
    /// The days that cannot be counted, as of the last drain snapshot.
    pub failing: Failing,
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
        let mut of_lists = Vec::new();
        let (mut derive_select, mut audit_select) =
            (DERIVE_SELECT.to_owned(), AUDIT_SELECT.to_owned());
        if let Some(sources) = sources {
            derive = with_part(&derive, "zone", &figures::zone(&sources.facilities));
            (derive_select, audit_select) = odd_rows::selects();
            let of = |branches: &[figures::Branch]| {
                let branches: String = branches
                    .iter()
                    .map(|branch| format!("UNION ALL\n{}\n", branch.select))
                    .collect();
                let derive = with_part(&derive, "figures", &branches);
                let derive = with_whole_sums(&with_stock_below_0(&derive));
                let derive = odd_rows::with_odd(&as_another_day(&derive));
                if sources.stock.is_none() { without_stock(&derive) } else { derive }
            };
            let branches = figures::branches(sources);
            of_lists = branches
                .iter()
                .map(|one| {
                    let derive = of(std::slice::from_ref(one));
                    (one.name.clone(), format!("{derive}{derive_select}"))
                })
                .collect();
            derive = of(&branches);
            activity = with_part(&activity, "instants", &figures::instants(sources));
            facilities_now =
                with_part(&facilities, "facilities", &figures::facilities(&sources.facilities));
            facilities_now = with_part(&facilities_now, "key", figures::KEY);
            facilities = with_part(&facilities, "key", figures::KEY);
            all_facilities = with_part(&all_facilities, "key", figures::KEY);
        }
        SourceStatements {
            is_mapped: sources.is_some(),
            known: sources.map_or(KnownFigures::ALL, SourcesSettings::known),
            are_unwatched: AtomicBool::new(sources.is_some()),
            of_lists,
            failing: Failing::default(),
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
    let (of_type, total) =
        ("@ < 0 ||", "greatest(coalesce(old.total_stock, 0::bigint), 0::bigint)");
    assert!(derive.contains(total) && derive.contains(of_type), "the statement has these parts");
    derive
        .replace(of_type, "@ < -1000000000000000 ||")
        .replace(total, "greatest(coalesce(old.total_stock, 0::bigint), -1000000000000000)")
}

/// The derive statement where quantities may have fractions, and figures are whole units: all rows
/// of a figure are added up before that sum is rounded, once. The total is such a sum, and so is
/// the figure of each type. So with fractions the types may add up to a few units more or less than
/// the total, and the total of a closed day is the one that was stored.
fn with_whole_sums(derive: &str) -> String {
    let pairs = [
        (
            "blood_type, sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred,\n",
            "blood_type, sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred, \
             sum(stock) AS all_stock, sum(transferred) AS all_transferred, sum(requests) AS \
             all_requests,\n",
        ),
        (
            "SELECT sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred, \
             sum(requests)::bigint AS requests,\n",
            "SELECT sum(all_stock)::bigint AS stock, sum(all_transferred)::bigint AS transferred, \
             sum(all_requests)::bigint AS requests,\n",
        ),
        (
            "WHEN old.total_stock IS NOT NULL THEN coalesce(sums.stock, 0) END",
            "WHEN old.total_stock BETWEEN coalesce(sums.stock, 0::bigint) - 5::bigint AND \
             coalesce(sums.stock, 0::bigint) + 5::bigint THEN old.total_stock WHEN old.total_stock \
             IS NOT NULL THEN coalesce(sums.stock, 0) END",
        ),
    ];
    pairs.iter().fold(derive.to_owned(), |derive, (before, after)| {
        assert!(derive.contains(before), "the statement has {before:?}");
        derive.replacen(before, after, 1)
    })
}

/// The derive statement where a stored row may be of a day that could not be counted: what is then
/// derived has another version, so that it replaces that row wherever it is held.
fn as_another_day(derive: &str) -> String {
    let differs = "key.day_end), false) AS day_differs";
    assert!(derive.contains(differs), "the statement has this part");
    derive.replace(
        differs,
        "key.day_end), false) OR coalesce(old.next_expires_at <= old.as_of, false) AS day_differs",
    )
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
