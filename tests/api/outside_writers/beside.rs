//! The service's own commands run beside it: what they write reaches the readers of the service.

use jiff::Timestamp;
use uuid::Uuid;

use super::held::several_drains;
use crate::{
    on_both_stores,
    support::{
        outside::Outside,
        site::{Site, a_zone_at_noon, audited},
        wait_until,
    },
};

on_both_stores! {
    async fn rows_that_a_rebuild_command_wrote_are_not_hidden_by_the_next_rebuild(
        service: Service,
    ) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        // The process is stopped between two passes of the drain, as a scheduler might do. During a
        // pass its locks would stop the commands, too.
        several_drains(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        wait_until("the outbox is empty", async || {
            sql.number("SELECT count(*) FROM outbox").await == 0
        })
        .await;
        service.signal(libc::SIGSTOP);
        let (row, facility) = (sql.id(Uuid::new_v4()), sql.id(site.facility));
        sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"))
            .await;
        for _ in 0..2 {
            let exited = service.launch().run(&["rebuild", "--all"]).await;
            assert_eq!(exited.code, Some(0), "{}", exited.output);
        }
        assert!(
            sql.number("SELECT count(*) FROM summary_marks").await > 0,
            "the marks stay until the service has processed them"
        );
        service.signal(libc::SIGCONT);
        site.shows(&service, (0, 0, 1)).await;
        audited(service.launch()).await;
    }

    async fn what_an_import_beside_the_service_wrote_reaches_its_readers(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        let file = service.launch().folder().join("requests.csv");
        let now = Timestamp::now();
        let known = format!("Site {}", site.facility);
        std::fs::write(&file, format!("who,when\n{},{now}\nNew Hospital,{now}\n", site.facility))
            .expect("the folder can be written to");
        let file = file.to_str().expect("the path is text");
        let exited = service
            .launch()
            .run(&["import", "requests", file, "--columns", "facility=who,created_at=when"])
            .await;
        assert_eq!(exited.code, Some(0), "{known}: {}", exited.output);
        site.shows(&service, (0, 0, 1)).await;
        wait_until("the service knows the facility of the file", async || {
            let listed: serde_json::Value =
                service.get("/v1/facilities?q=New").await.json().await.expect("it is JSON");
            listed["items"].as_array().is_some_and(|items| items.len() == 1)
        })
        .await;
        audited(service.launch()).await;
    }
}
