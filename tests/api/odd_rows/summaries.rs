//! Stored summaries that another program has made unreadable, read where nothing is held in memory.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    on_both_stores,
    support::{
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
    },
};

on_both_stores! {
    async fn a_summary_that_cannot_be_read_is_not_taken_for_one_of_a_restored_backup(
        service: Service
    ) {
        let (_, launch) = service.terminate().await;
        // Nothing is held, so each read asks the table. And neither a rebuild nor a sample audit
        // repairs the row before it is read.
        let launch = launch.env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0);
        let launch = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
        let service = launch.env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0).start().await;
        let zone = a_zone_at_noon().0;
        let (broken, whole) =
            (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
        for site in [broken, whole] {
            acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let epochs = metric(&service, "epochs_total").await;
        let row = format!("facility_id = {}", sql.id(broken.facility));
        let days = format!("/v1/facilities/{}/summaries", broken.facility);
        for path in [format!("{days}/today"), days, "/v1/summaries/today".to_owned()] {
            sql.run(format!(
                "UPDATE dashboard_daily_summary SET by_blood_type = '[1]' WHERE {row}"
            ))
            .await;
            let answer = service.get(&path).await;
            assert_eq!(answer.status(), 200, "{path}");
            let answer: Value = answer.json().await.expect("it is JSON");
            let shown =
                answer["items"].as_array().map_or(vec![&answer], |all| all.iter().collect());
            let is_broken =
                |day: &&&Value| day["facility_id"] == broken.facility.to_string().as_str();
            let first = shown.iter().find(is_broken).expect("it is shown");
            assert_eq!(first["total_stock"], 5, "{path}: {answer}");
            let unreadable = format!(
                "SELECT count(*) FROM dashboard_daily_summary WHERE {row} AND by_blood_type = '[1]'"
            );
            assert_eq!(sql.number(unreadable).await, 0, "{path}: the read has repaired it");
        }
        let dropped = "the database has an older row than it had (a backup restored?): everything \
                       held was dropped";
        assert!(service.logged(dropped).is_empty(), "the others are not affected");
        assert_eq!(metric(&service, "epochs_total").await, epochs);
        audited(service.launch()).await;
    }
}
