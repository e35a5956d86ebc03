//! Long transactions, bulk loads and streams.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::support::{
    Service,
    outside::Outside,
    site::{Site, a_zone_at_noon, audited, metric, rebuild},
    wait_until,
};

/// The passes of the drain so far, with any outcome.
async fn drains(service: &Service) -> f64 {
    let text = service.get("/metrics").await.text().await.expect("it is text");
    let counts = text.lines().filter(|line| line.starts_with(r#"job_runs_total{job="drain""#));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits for three more passes of the drain.
pub async fn several_drains(service: &Service) {
    let before = drains(service).await;
    wait_until("the drain has looked three times", async || drains(service).await >= before + 3.0)
        .await;
}

#[tokio::test]
async fn a_transaction_open_during_a_rebuild_counts_from_its_commit_and_not_as_drift() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let (facility, bank) = (sql.id(site.facility), sql.id(site.bank));
    sql.run(format!(
        "BEGIN; INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), \
         {facility})"
    ))
    .await;
    sql.run(format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), \
         {bank}, 6)"
    ))
    .await;
    several_drains(&service).await;
    let run = rebuild(&service).await;
    assert_eq!(
        (&run["state"], &run["changed"], &run["drift"]),
        (&"done".into(), &0.into(), &0.into()),
        "{run}"
    );
    several_drains(&service).await;
    let age = metric(&service, "summary_watermark_age_seconds").await;
    assert!(age < 10.0, "an open transaction has stopped the watermark, which is {age} s old");
    // This row is written later and committed earlier, and its mark has the higher number.
    let mut other = Outside::connect(service.database_url()).await;
    other
        .run(format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {facility})"
        ))
        .await;
    site.shows(&service, (0, 0, 1)).await;
    sql.run("COMMIT").await;
    site.shows(&service, (6, 0, 2)).await;
    assert_eq!(rebuild(&service).await["drift"], 0);
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    audited(service.launch()).await;
}

/// A transaction truncates all facilities, and registers one of them again. Another session holds
/// the lock of the other facility, which does not come back.
#[tokio::test]
async fn a_lock_on_rows_orphaned_by_a_truncate_delays_no_other_facility() {
    let service =
        Service::on_postgres().await.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    let (zone, _) = a_zone_at_noon();
    let (gone, back) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let (mut holder, mut sql) = (
        Outside::connect(service.database_url()).await,
        Outside::connect(service.database_url()).await,
    );
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(gone.facility)
        ))
        .await;
    let facility = sql.id(back.facility);
    sql.run(format!(
        "BEGIN; TRUNCATE facilities CASCADE; INSERT INTO facilities (id, name, timezone) VALUES \
         ({facility}, 'Phoenix', '{zone}');
         INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {facility}); \
         COMMIT"
    ))
    .await;
    let today = format!(
        "SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {facility} AND \
         total_requests = 1"
    );
    wait_until("the facility that came back is refreshed", async || sql.number(&today).await == 1)
        .await;
    let left = "SELECT count(*) FROM summary_marks WHERE facility_id IS NULL AND kind = 'facility'";
    several_drains(&service).await;
    assert!(
        sql.number(left).await > 0,
        "the mark stays, since nothing else names the rows of the orphan"
    );
    holder.run("ROLLBACK").await;
    let orphaned = format!(
        "SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {}",
        sql.id(gone.facility)
    );
    wait_until("the orphan is removed", async || sql.number(&orphaned).await == 0).await;
    wait_until("no mark is left", async || {
        sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    audited(service.launch()).await;
}

/// The event has read in which facility the bank is, and waits for the lock of that facility.
/// Meanwhile another program moves the bank.
#[tokio::test]
async fn a_unit_of_an_event_is_counted_where_its_bank_is_when_it_is_summarised() {
    let launch =
        Service::on_postgres().await.env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 60_000);
    // The event waits in its first try, and does not read again where the bank is.
    let launch = launch.env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", 60_000);
    let launch = launch
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 200)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let service = launch.start().await;
    let (zone, _) = a_zone_at_noon();
    let (from, to) = (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let mut holder = Outside::connect(service.database_url()).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let waiting = |who: &str| {
        format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = \
             current_database() AND {who}"
        )
    };
    let (ours, others) = (
        waiting("application_name = 'facility-summary'"),
        waiting("application_name <> 'facility-summary'"),
    );
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(from.facility)
        ))
        .await;
    let posting = tokio::spawn(
        service
            .request(reqwest::Method::POST, "/v1/events")
            .json(&from.stock(Uuid::new_v4(), 5))
            .send(),
    );
    wait_until("the event waits for the lock", async || sql.number(&ours).await > 0).await;

    let mut mover = Outside::connect(service.database_url()).await;
    let (bank, there) = (mover.id(from.bank), mover.id(to.facility));
    let moving = tokio::spawn(async move {
        mover.run(format!("UPDATE blood_banks SET facility_id = {there} WHERE id = {bank}")).await
    });
    // If the move waits for the lock, the holder has to release it first.
    wait_until("the bank has moved, or waits", async || {
        moving.is_finished() || sql.number(&others).await > 0
    })
    .await;
    if moving.is_finished() {
        several_drains(&service).await;
    }
    holder.run("ROLLBACK").await;
    moving.await.expect("the bank moves");
    let answer = posting.await.expect("the task runs").expect("an answer comes");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    to.shows(&service, (5, 0, 0)).await;
    from.shows(&service, (0, 0, 0)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_copy_of_500_000_rows_leaves_one_mark_per_facility_and_day_and_is_drained() {
    const ROWS: usize = 500_000;
    const FACILITIES: usize = 20;
    let service = Service::on_postgres().await.start().await;
    let (zone, today) = a_zone_at_noon();
    let mut sites = Vec::new();
    for _ in 0..FACILITIES {
        sites.push(Site::register(&service, &zone).await);
    }
    let now = Timestamp::now();
    // The rows of each facility are spread over today and the four days before.
    let mut lines = String::with_capacity(ROWS * 100);
    for row in 0..ROWS {
        let at = now - ((row / FACILITIES % 5 * 24) as i64).hours();
        lines.push_str(&format!(
            "{}\t{}\t{at}\n",
            Uuid::from_u128(row as u128 + 1),
            sites[row % FACILITIES].facility
        ));
    }
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run("BEGIN").await;
    let Outside::Postgres(connection) = &mut sql else { unreachable!("it is Postgres") };
    let mut copy = connection
        .copy_in_raw("COPY blood_requests (id, facility_id, created_at) FROM STDIN")
        .await
        .expect("COPY begins");
    copy.send(lines.as_bytes()).await.expect("the rows are taken");
    assert_eq!(copy.finish().await.expect("COPY ends"), ROWS as u64);
    let marks = sql.number("SELECT count(*) FROM summary_marks").await;
    assert!(
        (1..=FACILITIES as i64 * 5).contains(&marks),
        "{marks} marks for {FACILITIES} facilities and 5 days"
    );
    sql.run("COMMIT").await;
    let each = (ROWS / FACILITIES / 5) as i64;
    for site in [sites[0], sites[FACILITIES - 1]] {
        site.shows(&service, (0, 0, each)).await;
        for back in 1..5 {
            site.shows_on(&service, &(today - back.days()).to_string(), (0, 0, each)).await;
        }
    }
    wait_until("no mark is left", async || {
        sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_stream_of_writes_to_one_day_does_not_delay_its_figures() {
    let service = Service::on_sqlite().start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    site.shows(&service, (0, 0, 0)).await;
    let enough = Arc::new(AtomicBool::new(false));
    let stream = tokio::spawn({
        let (enough, url) = (enough.clone(), service.database_url().to_owned());
        async move {
            let mut sql = Outside::connect(&url).await;
            let facility = sql.id(site.facility);
            let mut rows = 0;
            while !enough.load(Ordering::Relaxed) {
                let row = sql.id(Uuid::new_v4());
                sql.run(format!(
                    "INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"
                ))
                .await;
                rows += 1;
            }
            rows
        }
    });
    let mut shown = 0;
    for _ in 0..3 {
        wait_until("the figure follows the stream", async || {
            let now =
                site.summary(&service, "today").await["total_requests"].as_i64().expect("a number");
            now > std::mem::replace(&mut shown, now)
        })
        .await;
    }
    enough.store(true, Ordering::Relaxed);
    let rows = stream.await.expect("the stream ends");
    site.shows(&service, (0, 0, rows)).await;
    audited(service.launch()).await;
}
