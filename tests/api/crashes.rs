//! The process or the database is killed in the middle of a stream of events. Afterwards every
//! acknowledged event is stored, and no refused one is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{Plain, bank, batch, facility, get, inventory, noon_zone, path, post, summary},
    support::{
        Service,
        events::event,
        outside::Outside,
        postgres::Postgres,
        service::Launch,
        site::{Site, a_zone_at_noon, audited},
        wait_until,
    },
};

/// How many senders run at the same time.
const SENDERS: usize = 12;
/// One in so many events refers to a bank that does not exist, and is refused.
const WRONG_EVERY: usize = 7;

/// What the senders know of the items that they sent.
#[derive(Default)]
struct Ledger {
    acknowledged: Vec<(Uuid, usize)>,
    refused: Vec<Uuid>,
    /// No answer came, or the answer said that the outcome is unknown.
    unknown: Vec<(Uuid, usize)>,
}

impl Ledger {
    fn add(&mut self, other: Ledger) {
        self.acknowledged.extend(other.acknowledged);
        self.refused.extend(other.refused);
        self.unknown.extend(other.unknown);
    }
}

/// Posts items one by one, each of one unit, until told to stop or until there is no answer.
async fn send(
    url: String,
    sites: Arc<Vec<Site>>,
    sender: usize,
    stop: Arc<AtomicBool>,
    answered: Arc<std::sync::atomic::AtomicUsize>,
) -> Ledger {
    let client = Client::builder().no_proxy().build().expect("an HTTP client needs nothing");
    let mut ledger = Ledger::default();
    for n in 0.. {
        let (item, at) = (Uuid::new_v4(), (sender + n) % sites.len());
        let mut body = sites[at].stock(item, 1);
        if n % WRONG_EVERY == WRONG_EVERY - 1 {
            body = event(
                "inventory.set",
                json!({"inventory_id": item, "blood_bank_id": Uuid::new_v4(), "quantity": 1}),
            );
        }
        let answer = match client.post(&url).json(&body).send().await {
            Ok(answer) => answer,
            Err(_) => {
                ledger.unknown.push((item, at));
                return ledger;
            }
        };
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_default();
        match status {
            200 => ledger.acknowledged.push((item, at)),
            503 if text.contains("not known") => ledger.unknown.push((item, at)),
            422 | 503 => ledger.refused.push(item),
            _ => panic!("{status}: {text}"),
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return ledger;
        }
    }
    unreachable!("the loop has no end")
}

/// Senders that run until `stop`, and how many answers they had.
struct Stream {
    senders: JoinSet<Ledger>,
    stop: Arc<AtomicBool>,
    answered: Arc<std::sync::atomic::AtomicUsize>,
}

impl Stream {
    fn start(service: &Service, sites: &Arc<Vec<Site>>) -> Stream {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::default());
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(
                format!("http://{}/v1/events", service.address),
                sites.clone(),
                sender,
                stop.clone(),
                Arc::clone(&answered),
            ));
        }
        Stream { senders, stop, answered }
    }

    async fn had_answers(&self, more: usize) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        wait_until("the stream flows", async || self.answered.load(Ordering::Relaxed) >= until)
            .await;
    }

    async fn end(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger::default();
        while let Some(ledger) = self.senders.join_next().await {
            all.add(ledger.expect("a sender does not panic"));
        }
        all
    }
}

async fn sites(service: &Service) -> Arc<Vec<Site>> {
    let mut sites = Vec::new();
    for _ in 0..3 {
        sites.push(Site::register(service, &a_zone_at_noon().0).await);
    }
    Arc::new(sites)
}

/// Asserts that rows and summaries agree with the answers to the senders, and that the audit finds
/// nothing.
async fn check(service: &Service, sites: &[Site], ledger: &Ledger) {
    let mut sql = Outside::connect(service.database_url()).await;
    let mut stored = std::collections::HashSet::new();
    for (item, _) in ledger.acknowledged.iter().chain(&ledger.unknown) {
        if sql
            .number(format!("SELECT count(*) FROM blood_inventory WHERE id = {}", sql.id(*item)))
            .await
            == 1
        {
            stored.insert(*item);
        }
    }
    for (item, _) in &ledger.acknowledged {
        assert!(stored.contains(item), "{item} was acknowledged, but is not stored");
    }
    for item in &ledger.refused {
        let rows = sql
            .number(format!("SELECT count(*) FROM blood_inventory WHERE id = {}", sql.id(*item)))
            .await;
        assert_eq!(rows, 0, "{item} was refused, but is stored");
    }
    for (at, site) in sites.iter().enumerate() {
        let there = ledger
            .acknowledged
            .iter()
            .chain(&ledger.unknown)
            .filter(|(item, of)| *of == at && stored.contains(item))
            .count();
        let shown = site.summary(service, "today").await["total_stock"].as_i64();
        assert_eq!(shown, Some(there as i64), "the first read of site {at} after the start");
    }
    assert!(!ledger.acknowledged.is_empty());
    audited(service.launch()).await;
}

async fn kill_9_again_and_again(launch: Launch, times: usize) {
    let mut service = launch.start().await;
    let sites = sites(&service).await;
    let mut ledger = Ledger::default();
    for round in 0..times {
        let stream = Stream::start(&service, &sites);
        stream.had_answers(20 + 37 * round).await;
        let launch = service.kill_9().await;
        ledger.add(stream.end().await);
        service = launch.start().await;
        check(&service, &sites, &ledger).await;
    }
    assert!(!ledger.refused.is_empty());
}

#[tokio::test]
async fn acknowledged_events_survive_kill_9_on_sqlite() {
    kill_9_again_and_again(Service::on_sqlite(), 8).await;
}

#[tokio::test]
async fn acknowledged_events_survive_kill_9_on_postgres() {
    kill_9_again_and_again(Service::on_postgres().await, 8).await;
}

async fn terminate_under_load(launch: Launch) {
    let service = launch.start().await;
    let sites = sites(&service).await;
    let stream = Stream::start(&service, &sites);
    stream.had_answers(150).await;
    let (exited, launch) = service.terminate().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let ledger = stream.end().await;
    check(&launch.start().await, &sites, &ledger).await;
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_under_load_ends_in_order_on_sqlite() {
    terminate_under_load(Service::on_sqlite()).await;
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_under_load_ends_in_order_on_postgres() {
    terminate_under_load(Service::on_postgres().await).await;
}

#[tokio::test]
async fn acknowledged_events_survive_a_crash_of_postgres() {
    let postgres = Postgres::start(&["fsync=on"]);
    let service = Service::on(postgres.fresh_database().await).start().await;
    let sites = sites(&service).await;
    let mut ledger = Ledger::default();
    for round in 0..4 {
        let stream = Stream::start(&service, &sites);
        stream.had_answers(60 + 41 * round).await;
        postgres.crash();
        postgres.start_again();
        let stopped = Timestamp::now();
        wait_until("events are taken again", async || {
            let probe: Value = sites[0].request(Uuid::from_u128(round as u128 + 1), stopped);
            // The service may close a kept-alive connection just when it is used again.
            let post = service.request(reqwest::Method::POST, "/v1/events").json(&probe).send();
            post.await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        stream.had_answers(30).await;
        ledger.add(stream.end().await);
        // What was committed while its answer was lost is shown when the drain has found it.
        let ended = Instant::now();
        wait_until("the drain has proven what came before the end", async || {
            let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
            ready["status"] == "ready"
                && ready["watermark_age_seconds"]
                    .as_f64()
                    .is_some_and(|age| age < ended.elapsed().as_secs_f64())
        })
        .await;
        check(&service, &sites, &ledger).await;
    }
}

on_both_stores! {
    async fn an_event_refused_at_the_commit_is_not_acknowledged_and_never_shown(
        service: Service,
    ) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let (mut plain, today) = (Plain::beside(&service).await, path(id, "today"));
        let is_postgres = matches!(plain, Plain::Postgres(_));
        let refuse = |table: &str| match is_postgres {
            true => format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation';
                 END $$;
                 CREATE CONSTRAINT TRIGGER refuse_at_commit AFTER INSERT OR UPDATE ON {table}
                    DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
            false => format!(
                "CREATE TABLE refused
                    (facility blob REFERENCES facilities (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER refuse_insert AFTER INSERT ON {table}
                    BEGIN INSERT INTO refused VALUES (x'00'); END;
                 CREATE TRIGGER refuse_update AFTER UPDATE ON {table}
                    BEGIN INSERT INTO refused VALUES (x'00'); END"
            ),
        };
        // First a write to a source table is refused, then a write to the table that every refresh
        // writes. The figures that were refused must not be shown.
        for table in ["blood_inventory", "dashboard_daily_summary"] {
            let (refuse, unit) = (refuse(table), inventory(Uuid::new_v4(), bank, "O+", 5));
            let allow = match is_postgres {
                true => format!("DROP TRIGGER refuse_at_commit ON {table}"),
                false => {
                    "DROP TRIGGER refuse_insert; DROP TRIGGER refuse_update; DROP TABLE refused"
                        .to_owned()
                }
            };
            let before = get(&service, &today).await;
            plain.run(&refuse).await;
            let refused = batch(&service, std::slice::from_ref(&unit)).send().await.unwrap();
            assert_ne!(refused.status(), 200, "{table}: {}", refused.text().await.unwrap());
            assert_eq!(
                get(&service, &today).await,
                before,
                "{table}: memory has nothing of the event"
            );
            plain.run(&allow).await;
            assert_eq!(
                summary(&service, id, "today").await,
                before,
                "{table}: the tables have nothing of the event"
            );
            assert_eq!(
                post(&service, &[unit]).await["applied"],
                1,
                "{table}: the same event is applied when it is sent again"
            );
            assert_eq!(
                get(&service, &today).await["total_stock"],
                before["total_stock"].as_i64().unwrap() + 5
            );
        }
    }
}
