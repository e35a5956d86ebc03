//! Where the rows of a listing come from: a read replica that has come far enough, or the primary, proven by a run of the drain.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use actix_web::HttpRequest;
use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    cache::memory::Key,
    domain::summary::{DayKey, Summary, SummaryRow},
    http::{app::App, freshness, problem::Problem},
    jobs::drain::Pass,
    metrics::Trigger,
    store::StoreError,
};

/// Pause between two tries of the drain while it proves nothing: somebody holds a lock that it needs, say.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// How often a listing begins anew because the database began another history meanwhile.
const HISTORIES: usize = 20;
/// Keys read from the table in one statement.
const CHUNK: usize = 1_000;

/// The summaries of days that have begun by `now_ms`: as stored, and a past day without a row is empty. A today that is yet to be
/// opened, and a day whose row is another zone's of that name, are refreshed; 503 where that cannot be done now. Left out are only days
/// of facilities that are gone.
pub(super) async fn summaries(
    request: &HttpRequest,
    app: &App,
    keys: &[DayKey],
    now_ms: i64,
) -> Result<(HashMap<Key, Summary>, i64), Problem> {
    let bound = Bound::of(request, app);
    let (mut rows, proven_ms) = match nearby(app, keys, &bound).await {
        Some(read) => read,
        None => proven(app, keys, &bound).await?,
    };
    let (mut found, mut due) = (HashMap::with_capacity(keys.len()), Vec::new());
    for key in keys {
        let (facility_id, date) = key.id();
        match rows.remove(&key.id()) {
            Some(row) if row.is_of(&key.day) => drop(found.insert(key.id(), row.summary)),
            None if key.day.end_ms <= now_ms => drop(found.insert(key.id(), Summary::empty(facility_id, date, true))),
            _ => due.push(key.clone()),
        }
    }
    if !due.is_empty() {
        found.extend(refreshed(app, due).await?);
    }
    Ok((found, proven_ms))
}

/// The rows as the primary has them, and as of when they are exact.
async fn proven(app: &App, keys: &[DayKey], bound: &Bound) -> Result<(HashMap<Key, SummaryRow>, i64), Problem> {
    for _ in 0..HISTORIES {
        let vantage = app.memory.vantage();
        let proven_ms = prove(app, bound).await?;
        if let Some(rows) = stored(app, keys, proven_ms).await?
            && app.memory.is_current(&vantage)
        {
            return Ok((rows, proven_ms));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
    Err(Problem::unavailable("The source was failed over or restored a moment ago, and what it holds is yet to be proven.", 1))
}

/// The rows as the primary has them; none where it does not tell the history in which the table was proven as of then.
async fn stored(app: &App, keys: &[DayKey], proven_ms: i64) -> Result<Option<HashMap<Key, SummaryRow>>, Problem> {
    let mut rows = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        let (store, chunk) = (app.store.clone(), chunk.iter().map(DayKey::id).collect::<Vec<_>>());
        let read = app.detached(async move { store.summaries(&chunk).await }).await?;
        if !app.changes.continue_in(&read, proven_ms) {
            return Ok(None);
        }
        rows.extend(read.rows.into_iter().map(|row| (row.key(), row)));
    }
    Ok(Some(rows))
}

/// The rows as a read replica has them, and as of when they are exact. `None` where there is none, or none that has come far enough: for
/// this request, or for what memory knows already.
async fn nearby(app: &App, keys: &[DayKey], bound: &Bound) -> Option<(HashMap<Key, SummaryRow>, i64)> {
    let (mut rows, mut proven_ms) = (HashMap::with_capacity(keys.len()), i64::MAX);
    for chunk in keys.chunks(CHUNK) {
        let (nearby, chunk) = (app.reads.nearby.clone(), chunk.iter().map(DayKey::id).collect::<Vec<_>>());
        let read = app.detached(async move { nearby.summaries(&chunk).await }).await?;
        let watermark = read.watermark?;
        proven_ms = proven_ms.min(watermark.at_ms);
        rows.extend(read.rows.into_iter().map(|row| (row.key(), row)));
    }
    let is_behind = |key: &Key| app.memory.get(key).is_some_and(|held| rows.get(key).map_or(0, |row| row.summary.version) < held.version);
    (bound.takes(proven_ms, app.clock.now_ms()) && !keys.iter().any(|key| is_behind(&key.id()))).then_some((rows, proven_ms))
}

/// Derives these days from their sources, in time or not at all.
async fn refreshed(app: &App, due: Vec<DayKey>) -> Result<Vec<((Uuid, Date), Summary)>, Problem> {
    let (refresher, chunk) = (app.rebuild.healer.refresher.clone(), app.settings.refresh.chunk);
    let ids: Vec<(Uuid, Date)> = due.iter().map(DayKey::id).collect();
    let refreshing = async move {
        let mut found = Vec::with_capacity(due.len());
        for chunk in due.chunks(chunk) {
            let (refreshed, all) = refresher.refresh_each(chunk.to_vec(), Trigger::Read).await;
            all?;
            found.extend(refreshed.into_iter().map(|r| ((r.row.summary.facility_id, r.row.summary.date), r.row.summary)));
        }
        Ok::<_, StoreError>(found)
    };
    let found = match app.detached(tokio::time::timeout(app.settings.freshness.refresh_timeout(), refreshing)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "days of a listing could not be refreshed");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let known: HashSet<(Uuid, Date)> = found.iter().map(|(id, _)| *id).collect();
    match ids.iter().find(|id| !known.contains(id) && app.directory.get(id.0).is_some()) {
        None => Ok(found),
        Some((id, date)) => Err(Problem::unavailable(
            format!(
                "{date} of facility {id} could not be summarised in time; another program may hold a lock, or the source is unreachable."
            ),
            1,
        )),
    }
}

/// How old a listing may be.
struct Bound {
    arrived_ms: i64,
    most_ms: i64,
    /// Where the request takes older ones, too, if they can be had at once.
    bearable_ms: Option<i64>,
    is_explicit: bool,
    only_if_cached: bool,
}

impl Bound {
    fn of(request: &HttpRequest, app: &App) -> Self {
        let directives = freshness::directives(request.headers());
        let most_ms = milliseconds(directives.max_age.unwrap_or_else(|| app.settings.freshness.max_age()));
        Bound {
            arrived_ms: app.clock.now_ms(),
            most_ms,
            bearable_ms: directives.max_stale.map(|limit| limit.map_or(i64::MAX, |limit| most_ms.saturating_add(milliseconds(limit)))),
            is_explicit: directives.max_age.is_some(),
            only_if_cached: directives.only_if_cached,
        }
    }

    /// Whether what is exact as of then will do now.
    fn takes(&self, proven_ms: i64, now_ms: i64) -> bool {
        let is_within = |most_ms: i64| age_ms(proven_ms, now_ms).is_some_and(|age_ms| age_ms <= most_ms);
        (self.most_ms > 0 && is_within(self.most_ms)) || self.bearable_ms.is_some_and(is_within)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The instant as of which the table is exact, after a run of the drain where it is older than the request wants. 503 where that cannot be had.
async fn prove(app: &App, bound: &Bound) -> Result<i64, Problem> {
    let proven_ms = app.memory.table_ms();
    if bound.takes(proven_ms, bound.arrived_ms) {
        return Ok(proven_ms);
    }
    if bound.only_if_cached {
        return Err(Problem::gateway_timeout("The request said only-if-cached, and what is proven is not fresh enough."));
    }
    let (bound_ms, arrived_ms) = (bound.most_ms, bound.arrived_ms);
    let (memory, clock, drain) = (app.memory.clone(), app.clock.clone(), app.drain.clone());
    let proving = async move {
        loop {
            // A proof from after the request's arrival is fresh enough for any bound.
            let proven_ms = memory.table_ms();
            let is_fresh = bound_ms > 0 && age_ms(proven_ms, clock.now_ms()).is_some_and(|age_ms| age_ms <= bound_ms);
            if proven_ms > arrived_ms || is_fresh {
                return Ok::<i64, StoreError>(proven_ms);
            }
            // It proves nothing either where another server stored a later proof meanwhile, of which this one is yet to hear.
            if drain.run_once().await? != Pass::More && memory.table_ms() == proven_ms {
                tokio::time::sleep(LOCK_POLL).await;
            }
        }
    };
    let timely = app.detached(tokio::time::timeout(app.settings.freshness.refresh_timeout(), proving)).await;
    let stale_if_error_ms = milliseconds(Duration::from_secs(app.settings.freshness.stale_if_error_seconds));
    let last_ms = app.memory.table_ms();
    let last_will_do = !bound.is_explicit && age_ms(last_ms, app.clock.now_ms()).is_some_and(|age_ms| age_ms <= stale_if_error_ms);
    match timely {
        Ok(Ok(proven_ms)) => Ok(proven_ms),
        _ if last_will_do => Ok(last_ms),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::unavailable("What other programs wrote could not be dealt with in time; one of them may hold a lock.", 1)),
    }
}

/// How old what a watermark proves is; none before the first proof.
fn age_ms(watermark_ms: i64, now_ms: i64) -> Option<i64> {
    (watermark_ms != i64::MIN).then(|| now_ms.saturating_sub(watermark_ms))
}
