//! Scheduled rebuilds across replicas: each tick runs once, by the database's clock; no two run at
//! the same time; none is lost with its replica.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::Scrape,
    support::{
        Service,
        events::event,
        faketime::FakeClock,
        outside::Outside,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
        wait_until, wait_until_within,
    },
};

/// A launch with rebuilds at these times.
async fn launch(cron: &str) -> Launch {
    scheduled(Service::on_postgres().await, cron)
}

fn scheduled(launch: Launch, cron: &str) -> Launch {
    launch.env("FACILITY_SUMMARY__REBUILD__CRON", cron)
}

async fn runs(sql: &mut Outside, wanted: &str) -> i64 {
    sql.number(format!("SELECT count(*) FROM job_runs WHERE {wanted}")).await
}

/// A facility with a figure that no mark explains, and a connection that holds the facility's lock.
/// A rebuild cannot end before this lock is released.
async fn drift_behind_a_lock(service: &Service) -> (Site, Outside) {
    let site = Site::register(service, &a_zone_at_noon().0).await;
    acknowledged(service, &site.stock(Uuid::new_v4(), 4)).await;
    let mut holder = Outside::connect(service.database_url()).await;
    holder.run("UPDATE dashboard_daily_summary SET total_stock = 1000").await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(site.facility)
        ))
        .await;
    (site, holder)
}

async fn request_rebuild(service: &Service) -> String {
    let answer =
        service.request(Method::POST, "/v1/rebuild").send().await.expect("the service answers");
    assert_eq!(answer.status(), 202);
    answer.headers()["location"].to_str().expect("a path").to_owned()
}

async fn run(service: &Service, path: &str) -> Value {
    service.get(path).await.json().await.expect("it is JSON")
}

#[tokio::test]
async fn each_tick_runs_once_across_replicas_with_different_clocks() {
    let launch = launch("*/4 * * * * *").await;
    let off = |seconds| FakeClock::at(Timestamp::now() + SignedDuration::from_secs(seconds));
    let (ahead, behind) = (off(600), off(-600));
    let started_ms = Timestamp::now().as_millisecond();
    let replicas = [
        launch.clone().envs(ahead.environment()).start().await,
        launch.clone().envs(behind.environment()).start().await,
        launch.clone().start().await,
    ];
    let mut sql = Outside::connect(launch.database_url()).await;
    // The replica that takes a tick needs so long for it that the others meanwhile try to take the
    // same one.
    sql.run(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
         pg_sleep(1); RETURN NEW; END $$;
         CREATE TRIGGER dawdle BEFORE UPDATE ON job_runs FOR EACH ROW WHEN (OLD.state = 'waiting' \
         AND NEW.state = 'running')
            EXECUTE FUNCTION dawdle()",
    )
    .await;
    wait_until_within(Duration::from_secs(60), "four ticks have run", async || {
        runs(&mut sql, "state = 'done'").await >= 4
    })
    .await;
    let rebuilds = async || {
        let mut counted = 0.0;
        for replica in &replicas {
            counted += Scrape::of(replica).await.sum("job_runs_total", &[("job", "rebuild")]);
        }
        counted as i64
    };
    // The replica that carried out a run counts it a moment after it is recorded. Between two equal
    // counts no run was in progress.
    wait_until("each recorded run was counted, and none twice", async || {
        let before = runs(&mut sql, "true").await;
        let (counted, after) = (rebuilds().await, runs(&mut sql, "state = 'done'").await);
        assert!(
            counted <= runs(&mut sql, "true").await,
            "{counted} runs were counted, and {after} are recorded"
        );
        (before, counted) == (after, after)
    })
    .await;
    // Between these queries no replica takes another tick.
    replicas.iter().for_each(|replica| replica.signal(libc::SIGSTOP));
    let ran = runs(&mut sql, "job = 'rebuild'").await;
    let seconds = "floor(extract(epoch FROM tick))::bigint";
    let first = sql.number(format!("SELECT min({seconds}) FROM job_runs")).await;
    let last = sql.number(format!("SELECT max({seconds}) FROM job_runs")).await;
    assert_eq!((first % 4, last % 4), (0, 0), "ticks are at the instants of the cron expression");
    assert!(first * 1000 >= started_ms - 4_000, "no tick is from long before the start");
    assert!(
        last * 1000 <= Timestamp::now().as_millisecond(),
        "no tick is ahead of the database's time"
    );
    assert_eq!(ran, (last - first) / 4 + 1, "each tick ran exactly once");
}

#[tokio::test]
async fn a_tick_comes_by_the_databases_clock_when_the_only_replicas_clock_is_wrong() {
    // The first look for a tick, five seconds after the start, still finds that of yesterday.
    let due = Timestamp::now() + SignedDuration::from_secs(15);
    let at = due.to_zoned(jiff::tz::TimeZone::UTC);
    let launch = launch(&format!("{} {} {} * * *", at.second(), at.minute(), at.hour())).await;
    let clock = FakeClock::at(Timestamp::now() + SignedDuration::from_secs(600));
    let service = launch.envs(clock.environment()).start().await;
    let mut sql = Outside::connect(service.database_url()).await;
    let todays = format!("state = 'done' AND tick = to_timestamp({})", due.as_second());
    assert_eq!(runs(&mut sql, &todays).await, 0);
    wait_until("today's tick has run", async || runs(&mut sql, &todays).await == 1).await;
    assert_eq!(
        runs(&mut sql, "true").await,
        2,
        "the ticks of yesterday, which had not run, and of today"
    );
}

#[tokio::test]
async fn a_rebuild_waits_for_a_lock_and_repairs_what_was_locked() {
    let service =
        launch("off").await.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 200).start().await;
    let (site, mut holder) = drift_behind_a_lock(&service).await;
    let beside = Site::register(&service, &a_zone_at_noon().0).await;
    Outside::connect(service.database_url())
        .await
        .run(format!(
            "UPDATE dashboard_daily_summary SET total_requests = 9 WHERE facility_id = '{}'",
            beside.facility
        ))
        .await;
    let path = request_rebuild(&service).await;
    wait_until("the other facility is repaired", async || {
        run(&service, &path).await["changed"] == 1
    })
    .await;
    assert_eq!(run(&service, &path).await["state"], "running");
    let waiting_ms =
        holder.number("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint").await;
    holder.run("ROLLBACK").await;
    wait_until("the rebuild is done", async || run(&service, &path).await["state"] == "done").await;
    let done = run(&service, &path).await;
    assert_eq!((&done["changed"], &done["drift"]), (&2.into(), &2.into()), "{done}");
    let verified = holder
        .number(
            "SELECT floor(extract(epoch FROM max(verified_through)) * 1000)::bigint FROM job_runs",
        )
        .await;
    assert!(
        0 < verified && verified <= waiting_ms,
        "the rebuild looked at the first day before {waiting_ms}, but claims {verified}"
    );
    assert_eq!(
        metric(&service, "summary_drift_rows_total").await,
        2.0,
        "each row is counted once, however often the rebuild looks at it"
    );
    site.shows(&service, (4, 0, 0)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn what_stays_locked_is_named_in_the_runs_error() {
    let launch = launch("off").await.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 200);
    let service = launch.env("FACILITY_SUMMARY__REBUILD__LOCK_PATIENCE_MS", 1_000).start().await;
    let (site, _holder) = drift_behind_a_lock(&service).await;
    let path = request_rebuild(&service).await;
    wait_until("the rebuild has failed", async || run(&service, &path).await["state"] == "failed")
        .await;
    let failed = run(&service, &path).await;
    assert!(failed["finished_at"].is_string(), "{failed}");
    let error = failed["error"].as_str().expect("a text");
    assert!(
        error.starts_with("locked: 1 days") && error.contains(&site.facility.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_replica_killed_in_mid_rebuild_leaves_it_to_another() {
    let launch = launch("*/5 * * * * *").await;
    let killed = scheduled(launch.clone(), "off").start().await;
    let (site, mut holder) = drift_behind_a_lock(&killed).await;
    let killed = killed.kill_9().await;
    let killed = scheduled(killed, "*/5 * * * * *").start().await;
    let mut sql = Outside::connect(launch.database_url()).await;
    wait_until("a rebuild waits for the lock", async || {
        runs(&mut sql, "state = 'running'").await == 1
    })
    .await;
    let heir = launch.start().await;
    killed.kill_9().await;
    holder.run("ROLLBACK").await;
    // A run counts as abandoned 15 s after its last sign of life. The next tick is taken within 5 s
    // of that.
    wait_until("another replica has rebuilt", async || runs(&mut sql, "state = 'done'").await >= 1)
        .await;
    site.shows(&heir, (4, 0, 0)).await;
    assert_eq!(metric(&heir, "summary_drift_rows_total").await, 1.0);
    wait_until("no run is in progress", async || runs(&mut sql, "state = 'running'").await == 0)
        .await;
}

#[tokio::test]
async fn a_rebuild_of_a_replica_that_stops_is_taken_up_by_another_under_the_same_name() {
    let launch = launch("off").await;
    let leaving = launch.clone().start().await;
    let (site, mut holder) = drift_behind_a_lock(&leaving).await;
    let path = request_rebuild(&leaving).await;
    wait_until("the rebuild has begun", async || run(&leaving, &path).await["state"] == "running")
        .await;
    let heir = launch.start().await;
    let before = run(&heir, &path).await["started_at"].clone();
    let (exited, _) = leaving.terminate().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    // Well before the run counts as abandoned.
    wait_until_within(
        Duration::from_secs(10),
        "another replica has begun the rebuild",
        async || {
            let now = run(&heir, &path).await;
            now["state"] == "running" && now["started_at"] != before
        },
    )
    .await;
    holder.run("ROLLBACK").await;
    wait_until("the rebuild is done", async || run(&heir, &path).await["state"] == "done").await;
    site.shows(&heir, (4, 0, 0)).await;
}

#[tokio::test]
async fn a_requested_rebuild_waits_for_that_of_another_replica() {
    let launch = launch("off").await;
    let asked = launch.clone().start().await;
    let (_, mut holder) = drift_behind_a_lock(&asked).await;
    let _busy = scheduled(launch, "0 0 * * * *").start().await;
    let mut sql = Outside::connect(asked.database_url()).await;
    wait_until("a scheduled one is running", async || {
        runs(&mut sql, "job = 'rebuild' AND state = 'running'").await == 1
    })
    .await;
    let path = request_rebuild(&asked).await;
    assert_eq!(
        request_rebuild(&asked).await,
        path,
        "a second request is answered with the run that waits"
    );
    let command = asked.launch().start_command(&["rebuild", "--all"]);
    wait_until("the command waits, too", async || {
        runs(&mut sql, "job = 'requested_rebuild' AND state = 'waiting'").await == 1
    })
    .await;
    assert_eq!(run(&asked, &path).await["state"], "waiting");
    assert_eq!(runs(&mut sql, "state = 'running'").await, 1);
    holder.run("ROLLBACK").await;
    wait_until("all three rebuilds have run", async || {
        assert!(
            runs(&mut sql, "state = 'running'").await <= 1,
            "two runs are in progress at the same time"
        );
        runs(&mut sql, "state = 'done'").await == 3
    })
    .await;
    let exited = command.wait().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
}

on_both_stores! {
    /// The tick that came before the start is due, but the first readers come first.
    async fn a_rebuild_leaves_the_first_seconds_after_a_start_to_readers(service: Service) {
        let (_, launch) = service.terminate().await;
        let before_ms = Timestamp::now().as_millisecond();
        let service = scheduled(launch, "0 0 0 1 1 *").start().await;
        let mut sql = Outside::connect(service.database_url()).await;
        wait_until("the tick of this year has run", async || {
            runs(&mut sql, "tick IS NOT NULL AND state = 'done'").await == 1
        })
        .await;
        let started_ms = match sql.is_postgres() {
            true => "floor(extract(epoch FROM started_at) * 1000)::bigint",
            false => "started_at",
        };
        let of_tick = "FROM job_runs WHERE tick = (SELECT max(tick) FROM job_runs)";
        let began_ms = sql.number(format!("SELECT {started_ms} {of_tick}")).await;
        assert!(began_ms >= before_ms + 5_000, "after {} ms", began_ms - before_ms);
    }

    async fn a_tombstone_is_kept_a_week_longer_than_the_oldest_accepted_event(
        service: Service,
    ) {
        const DAYS: i64 = 10;
        let (_, launch) = service.terminate().await;
        let launch = scheduled(launch, "* * * * * *")
            .env("FACILITY_SUMMARY__INGEST__MAX_EVENT_AGE_DAYS", DAYS);
        let service = launch.start().await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let ago = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
        let timed = |mut event: Value, days: i64| {
            event["time"] = ago(days).to_string().into();
            event
        };
        // Three removals: the first of the age of the oldest event that is accepted, the second
        // within the week after that age, the third beyond that week.
        let items = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        for item in items {
            acknowledged(
                &service,
                &timed(event("inventory.removed", json!({"inventory_id": item})), DAYS - 1),
            )
            .await;
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let left = async |sql: &mut Outside, item: Uuid| {
            let id = sql.id(item);
            sql.number(format!("SELECT count(*) FROM tombstones WHERE id = {id}")).await
        };
        for (item, days) in [(items[1], DAYS + 6), (items[2], DAYS + 8)] {
            let (id, at) = (sql.id(item), sql.at(ago(days).as_millisecond()));
            sql.run(format!("UPDATE tombstones SET event_time = {at} WHERE id = {id}")).await;
        }
        wait_until("a rebuild has deleted the oldest tombstone", async || {
            left(&mut sql, items[2]).await == 0
        })
        .await;
        assert_eq!((left(&mut sql, items[0]).await, left(&mut sql, items[1]).await), (1, 1));
        // A late event from before the removal is still superseded.
        let mut late = site.stock(items[0], 5);
        late["time"] =
            (Timestamp::now() - SignedDuration::from_hours(24 * DAYS - 12)).to_string().into();
        let late = acknowledged(&service, &late).await;
        assert_eq!(late["superseded"], 1, "{late}");
        assert_eq!(site.summary(&service, "today").await["total_stock"], 0);
    }
}
