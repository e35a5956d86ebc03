//! Writers that fire no ordinary trigger: sessions with `session_replication_role = replica`, and
//! what a logical subscription applies.

use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::{
    steps::Scrape,
    support::{
        Service,
        outside::Outside,
        postgres::Postgres,
        site::{Site, a_zone_at_noon, audited, metric},
        wait_until,
    },
};

#[tokio::test]
async fn sessions_in_the_role_of_a_replica_are_noticed_like_any_writer() {
    let service = Service::on_postgres().await.start().await;
    let (zone, today) = a_zone_at_noon();
    let (site, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    site.shows(&service, (0, 0, 0)).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let (row, bank, facility, second) =
        (sql.id(Uuid::new_v4()), sql.id(site.bank), sql.id(site.facility), sql.id(other.facility));
    let yesterday = today.yesterday().expect("there was one").to_string();
    sql.run("SET session_replication_role = replica").await;
    sql.run(format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, {bank}, 7)"
    ))
    .await;
    site.shows(&service, (7, 0, 0)).await;
    sql.run(format!(
        "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) VALUES \
         ({row}, {facility}, 3, now())"
    ))
    .await;
    site.shows(&service, (7, 3, 0)).await;
    sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"))
        .await;
    site.shows(&service, (7, 3, 1)).await;
    sql.run(
        "UPDATE blood_inventory SET quantity = 5; UPDATE blood_requests SET created_at = \
         created_at - interval '1 day'",
    )
    .await;
    site.shows(&service, (5, 3, 0)).await;
    site.shows_on(&service, &yesterday, (0, 0, 1)).await;
    sql.run(format!(
        "UPDATE blood_distributions SET dispatched_to_id = {second}; UPDATE blood_banks SET \
         facility_id = {second}"
    ))
    .await;
    site.shows(&service, (0, 0, 0)).await;
    other.shows(&service, (5, 3, 0)).await;
    sql.run("DELETE FROM blood_inventory; TRUNCATE blood_distributions").await;
    other.shows(&service, (0, 0, 0)).await;

    let marks = "SELECT count(*) FROM summary_marks";
    wait_until("all marks are processed", async || sql.number(marks).await == 0).await;
    sql.run("BEGIN").await;
    let rows = format!(
        "INSERT INTO blood_requests (id, facility_id) SELECT gen_random_uuid(), {facility} FROM \
         generate_series(1, 1000)"
    );
    sql.run(rows).await;
    assert_eq!(
        sql.number(marks).await,
        1,
        "there is one mark for the facility and day, for all rows"
    );
    sql.run("ROLLBACK").await;

    // A savepoint that is rolled back takes its marks back, too. The next write leaves a mark
    // again.
    let again = format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {facility})"
    );
    sql.run(format!("BEGIN; SAVEPOINT s; {again}; ROLLBACK TO SAVEPOINT s; {again}; COMMIT")).await;
    site.shows(&service, (0, 0, 1)).await;
    sql.run(format!("INSERT INTO facilities (id, name) VALUES ({row}, 'South')")).await;
    let path = format!("/v1/facilities/{}", row.trim_matches('\''));
    wait_until("the facility is known", async || service.get(&path).await.status() == 200).await;
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    audited(service.launch()).await;
}

/// Stores two facilities, with a unit of 7 in the first, in the database that is copied, and
/// publishes its source tables.
async fn publish_sites(publisher: &mut Outside, zone: &str, sites: [Site; 2]) {
    for Site { facility, bank } in sites {
        publisher.run(format!(
            "INSERT INTO facilities (id, name, timezone) VALUES ('{facility}', 'North', '{zone}')"
        ))
        .await;
        publisher
            .run(format!(
                "INSERT INTO blood_banks (id, facility_id) VALUES ('{bank}', '{facility}')"
            ))
            .await;
    }
    publisher
        .run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity)
             VALUES (gen_random_uuid(), '{}', 7)",
            sites[0].bank
        ))
        .await;
    publisher
        .run(
            "CREATE PUBLICATION sources FOR TABLE facilities, blood_banks, blood_inventory,
             blood_distributions, blood_requests",
        )
        .await;
}

/// Changes rows of each table in the database that is copied. Each change shows in the figures.
async fn changes_are_applied(
    from: &mut Outside,
    service: &Service,
    [site, other]: [Site; 2],
    yesterday: &str,
) {
    let now = from.at(Timestamp::now().as_millisecond());
    let then = from.at((Timestamp::now() - 24.hours()).as_millisecond());
    let facility = site.facility;
    from.run(format!(
        "INSERT INTO blood_requests (id, facility_id, created_at) VALUES (gen_random_uuid(), \
         '{facility}', {now})"
    ))
    .await;
    from.run(format!(
        "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) VALUES \
         (gen_random_uuid(), '{facility}', 3, {now})"
    ))
    .await;
    from.run("UPDATE blood_inventory SET quantity = 5").await;
    site.shows(service, (5, 3, 1)).await;
    from.run(format!(
        "UPDATE blood_requests SET created_at = {then}; UPDATE blood_distributions SET \
         dispatched_to_id = '{}'",
        other.facility
    ))
    .await;
    site.shows(service, (5, 0, 0)).await;
    site.shows_on(service, yesterday, (0, 0, 1)).await;
    other.shows(service, (0, 3, 0)).await;
    from.run(format!("UPDATE blood_banks SET facility_id = '{}'", other.facility)).await;
    other.shows(service, (5, 3, 0)).await;
    from.run("DELETE FROM blood_inventory").await;
    other.shows(service, (0, 3, 0)).await;
    from.run("TRUNCATE blood_distributions").await;
    other.shows(service, (0, 0, 0)).await;
    from.run(format!(
        "DELETE FROM blood_banks WHERE facility_id = '{0}'; DELETE FROM facilities WHERE id = \
         '{0}'",
        other.facility
    ))
    .await;
}

#[tokio::test]
async fn what_a_logical_subscription_copies_and_applies_is_noticed_row_by_row() {
    let publisher = Postgres::start(&["wal_level=logical"]);
    let source = Service::on(publisher.fresh_database().await);
    let exited = source.run(&["migrate"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let service = Service::on_postgres().await.start().await;
    let (mut from, mut to) = (
        Outside::connect(source.database_url()).await,
        Outside::connect(service.database_url()).await,
    );
    let (zone, today) = a_zone_at_noon();
    let (site, other) = (
        Site { facility: Uuid::new_v4(), bank: Uuid::new_v4() },
        Site { facility: Uuid::new_v4(), bank: Uuid::new_v4() },
    );
    publish_sites(&mut from, &zone, [site, other]).await;
    let url = source.database_url();
    to.run(format!(
        "CREATE SUBSCRIPTION applied CONNECTION '{url}' PUBLICATION sources WITH (slot_name = \
         'applied')"
    ))
    .await;
    let path = format!("/v1/facilities/{}", other.facility);
    for id in [site.facility, other.facility] {
        let path = format!("/v1/facilities/{id}");
        wait_until("what was copied at the beginning is known", async || {
            service.get(&path).await.status() == 200
        })
        .await;
    }
    site.shows(&service, (7, 0, 0)).await;

    let yesterday = today.yesterday().expect("there was one").to_string();
    changes_are_applied(&mut from, &service, [site, other], &yesterday).await;
    wait_until("the facility is gone", async || service.get(&path).await.status() == 404).await;
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    audited(service.launch()).await;
    to.run("DROP SUBSCRIPTION applied").await;
}

#[tokio::test]
async fn units_of_a_bank_that_is_not_there_yet_concern_no_facility() {
    let service = Service::on_postgres().await.start().await;
    let (zone, _) = a_zone_at_noon();
    let (site, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    for site in [site, other] {
        site.shows(&service, (0, 0, 0)).await;
    }
    let refreshes =
        async || Scrape::of(&service).await.sum("summary_refreshes_total", &[("trigger", "event")]);
    let mut sql = Outside::connect(service.database_url()).await;
    let marks = "SELECT count(*) FROM summary_marks";
    wait_until("nothing is left to do", async || sql.number(marks).await == 0).await;
    let before = refreshes().await;
    let (bank, facility) = (sql.id(Uuid::new_v4()), sql.id(other.facility));
    sql.run("SET session_replication_role = replica").await;
    sql.run(format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), \
         {bank}, 7)"
    ))
    .await;
    wait_until("the mark is processed", async || sql.number(marks).await == 0).await;
    assert_eq!(refreshes().await, before, "no figures have changed, so nothing is refreshed");
    sql.run(format!(
        "INSERT INTO blood_banks (id, facility_id, name) VALUES ({bank}, {facility}, 'Late')"
    ))
    .await;
    other.shows(&service, (7, 0, 0)).await;
    site.shows(&service, (0, 0, 0)).await;
    audited(service.launch()).await;
}
