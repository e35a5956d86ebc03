//! Another program writes between any two statements of an event's transaction. After each commit
//! the row equals a recomputation, or a mark that explains the difference is visible; and the row
//! lacks nothing that was committed before the instant as of which it claims to be exact.

use std::{sync::Arc, time::Duration};

use facility_summary::{
    config::DatabaseSettings,
    domain::{
        facility::{Facility, Zone},
        summary::DayKey,
    },
    store::{Store, postgres::PostgresStore},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{days, open_site, quiet, stored, units};
use crate::support::{
    Service,
    outside::Outside,
    site::{Site, a_zone_at_noon, acknowledged, metric},
    steps_proxy::StepsProxy,
    wait_until,
};

/// What another program does, and when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// New units, committed before the transaction goes on.
    Units,
    /// New units, written and committed before, and dealt with by a drain before it goes on.
    UnitsDrained,
    /// New units, written before the event, committed while its transaction waits.
    UnitsHeld,
    /// New units, written while the transaction waits, committed after it.
    UnitsLater,
    /// Another quantity of the event's own row.
    SameRow,
    /// The event's bank moves to another facility, and a drain deals with that.
    MovedBank,
}

const WRITERS: [Writer; 6] = [
    Writer::Units,
    Writer::UnitsDrained,
    Writer::UnitsHeld,
    Writer::UnitsLater,
    Writer::SameRow,
    Writer::MovedBank,
];

/// A service behind a proxy, and what the test uses beside it.
struct World {
    service: Service,
    proxy: StepsProxy,
    store: Arc<PostgresStore>,
    url: String,
    zone: String,
}

impl World {
    /// `verify`: whether the service itself judges the differences, besides the test.
    async fn new(verify: &str) -> World {
        let first = Service::on_postgres().await;
        let url = first.database_url().to_owned();
        let (proxy, through) = StepsProxy::before(&url).await;
        let launch = quiet(Service::on(through))
            .env("FACILITY_SUMMARY__REFRESH__VERIFY_DIFFERENCES", verify)
            .env("FACILITY_SUMMARY__DATABASE__IDLE_TRANSACTION_TIMEOUT_MS", 60_000)
            .env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", 20_000)
            .env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", 60_000)
            .env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 20_000);
        let service = launch.start().await;
        let settings = DatabaseSettings {
            url: url.clone(),
            min_connections: 0,
            max_connections: 4,
            ..DatabaseSettings::default()
        };
        let store = Arc::new(PostgresStore::open(&settings, None).await.expect("it opens"));
        World { service, proxy, store, url, zone: a_zone_at_noon().0 }
    }

    /// Asserts that each row equals its sources in one snapshot, or that a mark explains why not.
    async fn is_right_or_marked(&self, sites: &[Site], case: &str) {
        let keys: Vec<DayKey> = sites.iter().map(|site| today(&self.zone, *site)).collect();
        let wrong = self.store.audit(&keys).await.expect("it can be compared");
        let mut unexplained =
            wrong.iter().filter(|d| (d.figures_differ || d.expires_too_late) && !d.explained);
        assert!(unexplained.next().is_none(), "{case}: {wrong:?}");
    }

    fn post(&self, event: &Value) -> JoinHandle<(u16, String)> {
        let request = self.service.request(reqwest::Method::POST, "/v1/events").json(event);
        tokio::spawn(async move {
            let answer = request.send().await.expect("an answer comes");
            (answer.status().as_u16(), answer.text().await.unwrap_or_default())
        })
    }

    /// Sends an event of a new site, and lets the other program act before this step of its
    /// transaction. Returns whether the transaction has such a step.
    async fn meets(&self, step: usize, writer: Writer) -> bool {
        let case = format!("{writer:?} before step {step}");
        let site = open_site(&self.service).await;
        let other = open_site(&self.service).await;
        let item = Uuid::new_v4();
        acknowledged(&self.service, &site.stock(item, 3)).await;
        let mut sql = Outside::connect(&self.url).await;
        if writer == Writer::UnitsHeld {
            let insert = units(&sql, site, 100);
            sql.run(format!("BEGIN; {insert}")).await;
        }
        self.proxy.hold_at(step);
        let posting = self.post(&site.stock(item, 5));
        wait_until("it is held, or done", async || self.proxy.is_held() || posting.is_finished())
            .await;
        let is_held = self.proxy.is_held();
        let acting = self.acts(writer, sql, site, other, item);
        let (mut sql, committed_ms) = if is_held {
            let mut acting = tokio::spawn(acting);
            // A write to what the event has locked comes after it.
            let first = tokio::time::timeout(Duration::from_millis(300), &mut acting).await;
            self.proxy.release();
            match first {
                Ok(done) => done.expect("it is written"),
                Err(_) => {
                    let (sql, _) = acting.await.expect("it is written");
                    (sql, i64::MAX)
                }
            }
        } else {
            self.proxy.release();
            acting.await
        };
        let (status, answer) = posting.await.expect("it is answered");
        assert_eq!(status, 200, "{case}: {answer}");
        self.is_right_or_marked(&[site, other], &case).await;
        if is_held && writer != Writer::MovedBank && writer != Writer::SameRow {
            let facility = sql.id(site.facility);
            let as_of_ms = sql
                .number(format!(
                    "SELECT floor(extract(epoch FROM as_of) * 1000)::bigint FROM \
                     dashboard_daily_summary WHERE facility_id = {facility}"
                ))
                .await;
            if committed_ms < as_of_ms {
                let stock = stored(&mut sql, site).await;
                assert_eq!(stock, 115, "{case}: it claims to be exact as of {as_of_ms}");
            }
        }
        if writer == Writer::UnitsLater {
            sql.run("COMMIT").await;
            self.is_right_or_marked(&[site, other], &case).await;
        }
        is_held
    }

    /// Acts, and answers when that was committed, by the database's clock.
    fn acts(
        &self,
        writer: Writer,
        mut sql: Outside,
        site: Site,
        other: Site,
        item: Uuid,
    ) -> impl Future<Output = (Outside, i64)> + Send + 'static {
        let insert = units(&sql, site, 100);
        let (item, bank, there) = (sql.id(item), sql.id(site.bank), sql.id(other.facility));
        let (store, zone) = (self.store.clone(), self.zone.clone());
        let drains = matches!(writer, Writer::UnitsDrained | Writer::MovedBank);
        let sites = [site, other];
        async move {
            match writer {
                Writer::Units | Writer::UnitsDrained => sql.run(insert).await,
                Writer::UnitsHeld => sql.run("COMMIT").await,
                Writer::UnitsLater => sql.run(format!("BEGIN; {insert}")).await,
                Writer::SameRow => {
                    sql.run(format!("UPDATE blood_inventory SET quantity = 50 WHERE id = {item}"))
                        .await
                }
                Writer::MovedBank => {
                    sql.run(format!(
                        "UPDATE blood_banks SET facility_id = {there} WHERE id = {bank}"
                    ))
                    .await
                }
            }
            let clock = "SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
            let committed_ms = sql.number(clock).await;
            if drains {
                drain(&store, &zone, &sites).await;
            }
            let is_open = writer == Writer::UnitsLater;
            (sql, if is_open { i64::MAX } else { committed_ms })
        }
    }
}

/// The site's today.
fn today(zone: &str, site: Site) -> DayKey {
    let zone = Arc::new(Zone::named(zone).expect("it exists"));
    let day = zone.today(jiff::Timestamp::now().as_millisecond());
    let facility = Facility { id: site.facility, name: String::new(), zone, key: None };
    DayKey { facility: Arc::new(facility), day }
}

/// What a drain does with the marks of these facilities.
async fn drain(store: &PostgresStore, zone: &str, sites: &[Site]) {
    let keys: Vec<DayKey> = sites.iter().map(|site| today(zone, *site)).collect();
    let of_these = |id: Option<Uuid>| sites.iter().any(|site| id == Some(site.facility));
    let marks = store.marks(10_000).await.expect("they can be read").all;
    let ids: Vec<i64> =
        marks.iter().filter(|mark| of_these(mark.facility_id)).map(|mark| mark.id).collect();
    let mut tx = store.begin(Duration::from_secs(20)).await.expect("it begins");
    tx.take_marks(&ids).await.expect("they are taken");
    let mut facilities: Vec<Uuid> = sites.iter().map(|site| site.facility).collect();
    facilities.sort_unstable();
    let states = tx.lock(&facilities).await.expect("they are locked");
    let mut rows = Vec::new();
    for derived in tx.derive(&keys).await.expect("they are derived") {
        let mut row = derived.row;
        row.summary.version = states[&row.summary.facility_id].version + 1;
        row.summary.updated_at = Some(row.as_of_ms);
        rows.push(row);
    }
    tx.write(&rows, &Default::default()).await.expect("they are written");
    tx.commit().await.expect("it commits");
}

#[tokio::test]
async fn a_write_between_any_two_statements_of_an_event_is_counted_or_marked() {
    let world = World::new("off").await;
    for writer in WRITERS {
        let mut step = 1;
        while world.meets(step, writer).await {
            step += 1;
        }
        assert!(step > 5, "{writer:?}: the transaction has more steps than {step}");
    }
    assert!(days(&world.service, "difference", "none").await > 30.0);
    assert!(days(&world.service, "derived", "marked").await > 0.0);
}

/// The event meets the move as a conflict and is tried again. That is no wrong difference.
#[tokio::test]
async fn a_bank_that_moves_between_two_statements_of_an_event_is_no_wrong_difference() {
    let world = World::new("on").await;
    let mut step = 1;
    while world.meets(step, Writer::MovedBank).await {
        step += 1;
    }
    assert!(step > 5, "the transaction has more steps than {step}");
    assert!(days(&world.service, "difference", "none").await > 5.0, "there was none to verify");
    assert_eq!(metric(&world.service, "summary_wrong_differences_total").await, 0.0);
}

/// The commit took place, and its answer was lost. The event is sent again by a sender that does
/// not know.
#[tokio::test]
async fn an_event_that_is_repeated_after_an_unknown_commit_counts_once() {
    let world = World::new("off").await;
    let site = open_site(&world.service).await;
    let mut sql = Outside::connect(&world.url).await;
    for round in 1..=3 {
        let event = site.stock(Uuid::new_v4(), 5);
        world.proxy.lose_a_commit();
        let (first, _) = world.post(&event).await.expect("it is answered");
        assert_eq!(world.proxy.lost(), round);
        let again = acknowledged(&world.service, &event).await;
        assert!(again["applied"] == json!(0) || first != 200, "{again}");
        assert_eq!(stored(&mut sql, site).await, 10 + 5 * round as i64);
    }
    world.is_right_or_marked(&[site], "after lost commits").await;
}
