//! Writes that no trigger noticed: the rebuild finds, repairs and counts them. A rebuild that finds
//! no difference writes nothing.

use uuid::Uuid;

use super::held::several_drains;
use crate::{
    on_both_stores,
    support::{
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric, rebuild},
        wait_until,
    },
};

/// Inserts a request, and deletes the mark that it left.
async fn request_unseen(sql: &mut Outside, site: Site) {
    let (row, facility) = (sql.id(Uuid::new_v4()), sql.id(site.facility));
    let insert = format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})");
    sql.run(format!("BEGIN; {insert}; DELETE FROM summary_marks; COMMIT")).await;
}

on_both_stores! {
    async fn what_no_trigger_saw_is_found_by_the_audit_and_repaired_by_a_rebuild(service: Service) {
        let (_, launch) = service.terminate().await;
        let launch = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
        let service = launch.env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0).start().await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        request_unseen(&mut Outside::connect(service.database_url()).await, site).await;
        several_drains(&service).await;
        site.shows(&service, (0, 0, 0)).await;
        let audit = service.launch().run(&["audit"]).await;
        assert_eq!(audit.code, Some(1), "{}", audit.output);
        assert!(audit.output.contains(&site.facility.to_string()), "{}", audit.output);
        let run = rebuild(&service).await;
        assert_eq!((&run["changed"], &run["drift"]), (&1.into(), &1.into()), "{run}");
        site.shows(&service, (0, 0, 1)).await;
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 1.0);
        assert_eq!(rebuild(&service).await["drift"], 0);
        audited(service.launch()).await;
    }

    async fn the_scheduled_rebuild_finds_it_too(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let (_, launch) = service.terminate().await;
        request_unseen(&mut Outside::connect(launch.database_url()).await, site).await;
        let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "* * * * * *").start().await;
        wait_until("the drift is counted", async || {
            metric(&service, "summary_drift_rows_total").await == 1.0
        })
        .await;
        site.shows(&service, (0, 0, 1)).await;
        wait_until("the verified time is told", async || {
            metric(&service, "summary_verified_through_seconds").await > 0.0
        })
        .await;
        audited(service.launch()).await;
    }

    async fn the_audit_finds_and_repairs_a_tampered_row_without_any_rebuild(service: Service) {
        let (_, launch) = service.terminate().await;
        let launch = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
        let service = launch.env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 100).start().await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 4)).await;
        wait_until("rows are looked at", async || {
            metric(&service, "summary_audited_rows_total").await > 0.0
        })
        .await;
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run("UPDATE dashboard_daily_summary SET total_stock = 1000").await;
        wait_until("the drift is counted", async || {
            metric(&service, "summary_drift_rows_total").await == 1.0
        })
        .await;
        wait_until("the row is repaired", async || {
            sql.number("SELECT max(total_stock) FROM dashboard_daily_summary").await == 4
        })
        .await;
        site.shows(&service, (4, 0, 0)).await;
        assert_eq!(
            service
                .logged("a summary differs from its sources and no mark says why; it is refreshed")
                .len(),
            1
        );
        audited(service.launch()).await;
    }

    async fn a_rebuild_over_unchanged_sources_writes_no_summary(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 4)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let before = sql.fingerprint("dashboard_daily_summary").await;
        assert!(!before.is_empty());
        let run = rebuild(&service).await;
        assert_eq!(
            (&run["state"], &run["changed"], &run["drift"]),
            (&"done".into(), &0.into(), &0.into()),
            "{run}"
        );
        assert_eq!(sql.fingerprint("dashboard_daily_summary").await, before);
    }
}
