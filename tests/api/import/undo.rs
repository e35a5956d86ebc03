//! `import undo` removes what an import wrote, and nothing else.

use serde_json::json;
use uuid::Uuid;

use super::{
    MANY, audited, both_stores, day, facility, facility_id, imported, many_rows, tables,
    wait_for_day, wait_until, write,
};
use crate::{
    on_both_stores,
    support::{
        events::event,
        plain_sql::{number, texts},
        service::Launch,
    },
};

const DELIVERIES: &[&str] = &["--columns=date_delivered=date,facility=to,quantity=units"];
const STOCK: &[&str] = &["--columns=facility=bank,date=date,blood_type=type,quantity=units"];

async fn undone(launch: &Launch, import: u32) -> String {
    let exited = launch.run(&["import", "undo", &import.to_string()]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    exited.output
}

#[tokio::test]
async fn an_undone_import_leaves_all_tables_as_they_were_and_comes_again() {
    for launch in both_stores().await {
        let url = launch.database_url();
        write(&launch, "before.csv", "date,to,units\n2024-01-05,Accra,3\n");
        imported(&launch, "distributions", "before.csv", &[DELIVERIES]).await;
        write(&launch, "many.csv", &many_rows(2_500));
        write(
            &launch,
            "stock.csv",
            "bank,date,type,units\nAccra,2024-01-05,O+,5\nTema,2024-01-05,O+,5\nTema,2024-01-06,,\
             0\n",
        );
        write(&launch, "banks.csv", "name,zone\nAccra,Africa/Accra\nKumasi,Africa/Accra\n");
        for (kind, file, options) in [
            ("requests", "many.csv", MANY),
            ("stock-history", "stock.csv", STOCK),
            ("facilities", "banks.csv", &["--columns=name=name,timezone=zone"]),
        ] {
            let before = (tables::sources(url).await, tables::figures(url).await);
            for _ in 0..2 {
                imported(&launch, kind, file, &[options]).await;
                assert_ne!(
                    (tables::sources(url).await, tables::figures(url).await),
                    before,
                    "{kind}"
                );
                let last = number(url, "SELECT max(id) FROM file_imports").await;
                let output = undone(&launch, u32::try_from(last).expect("a number")).await;
                assert_eq!(
                    (tables::sources(url).await, tables::figures(url).await),
                    before,
                    "{kind}: {output}"
                );
            }
        }
        let of_before = number(url, "SELECT count(*) FROM imported_rows").await;
        assert_eq!(of_before, 2, "the row of the import that was not undone, and its facility");
        audited(&launch).await;
    }
}

on_both_stores! {
    async fn a_service_beside_the_undo_shows_what_is_left(service: Service) {
        let launch = service.launch();
        write(
            launch,
            "supply.csv",
            "date,to,units\n2024-01-05,Accra,3\n2024-01-05,Tema,2\n\
             2024-01-06,Tema,4\n",
        );
        write(launch, "stock.csv", "bank,date,type,units\nAccra,2024-01-05,O+,5\n");
        imported(launch, "distributions", "supply.csv", &[DELIVERIES]).await;
        imported(launch, "stock-history", "stock.csv", &[STOCK]).await;
        let (accra, tema) =
            (facility_id(&service, "Accra").await, facility_id(&service, "Tema").await);
        wait_for_day(&service, &accra, "2024-01-05", [json!(5), json!(3), json!(0)]).await;
        wait_for_day(&service, &tema, "2024-01-06", [json!(null), json!(4), json!(0)]).await;

        let output = undone(launch, 1).await;
        assert!(
            output.contains(
                "Import 1 (distributions from supply.csv, of the source supply) is undone\n\
             3 rows are gone"
            ),
            "{output}"
        );
        assert!(output.contains("; 1 facilities are gone"), "{output}");
        assert!(
            output.contains("1 facilities are referred to by something else: left (Accra)"),
            "{output}"
        );
        wait_for_day(&service, &accra, "2024-01-05", [json!(5), json!(0), json!(0)]).await;
        wait_until("Tema is gone", async || facility(&service, "Tema").await.is_none()).await;
        assert_eq!(
            service.get(&format!("/v1/facilities/{tema}/summaries/today")).await.status(),
            404
        );
        audited(launch).await;

        // The second import needs Accra. When it is undone too, Accra is removed.
        undone(launch, 2).await;
        wait_until("Accra is gone", async || facility(&service, "Accra").await.is_none()).await;
        audited(launch).await;
        imported(launch, "distributions", "supply.csv", &[DELIVERIES]).await;
        facility_id(&service, "Tema").await;
        wait_for_day(&service, &tema, "2024-01-06", [json!(null), json!(4), json!(0)]).await;
        audited(launch).await;
    }

    async fn rows_that_others_have_changed_since_the_import_stay(service: Service) {
        let launch = service.launch();
        let url = launch.database_url();
        let registered = service
            .put(
                &format!("/v1/facilities/{}", Uuid::from_u128(77)),
                &json!({ "name": "Tema", "timezone": "UTC" }),
            )
            .await;
        assert!(registered.status().is_success());
        write(
            launch,
            "supply.csv",
            "date,to,units\n2024-01-05,Tema,3\n2024-01-06,Tema,2\n\
             2024-01-07,Tema,1\n",
        );
        write(launch, "banks.csv", "name,zone\nTema,Africa/Accra\nAccra,Africa/Accra\n");
        imported(launch, "distributions", "supply.csv", &[DELIVERIES]).await;
        imported(launch, "facilities", "banks.csv", &[&["--columns=name=name,timezone=zone"]])
            .await;
        let (tema, accra) =
            (facility_id(&service, "Tema").await, facility_id(&service, "Accra").await);
        let ids =
            texts(url, "SELECT id(id) FROM blood_distributions ORDER BY date_delivered").await;
        let ids: Vec<Uuid> = ids.iter().map(|id| id.parse().expect("an id")).collect();
        let corrected = json!({
            "distribution_id": ids[0],
            "dispatched_to_id": tema,
            "quantity": 9,
            "date_delivered": "2024-01-05T12:00:00Z",
        });
        for event in [
            event("distribution.set", corrected),
            event("distribution.removed", json!({ "distribution_id": ids[1] })),
        ] {
            let answer = service.post("/v1/events", &event).await;
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
        let renamed = service
            .put(
                &format!("/v1/facilities/{accra}"),
                &json!({ "name": "Accra Central", "timezone": "Africa/Accra" }),
            )
            .await;
        assert!(renamed.status().is_success());

        let output = undone(launch, 1).await;
        assert!(
            output.contains("1 rows are gone")
                && output.contains("2 rows were corrected or removed since: left"),
            "{output}"
        );
        assert_eq!(number(url, "SELECT sum(quantity) FROM blood_distributions").await, 9);
        let output = undone(launch, 2).await;
        assert!(output.contains("1 facilities were changed since: left"), "{output}");
        wait_until("Tema is back in UTC", async || {
            facility(&service, "Tema").await.is_some_and(|f| f["timezone"] == "UTC")
        })
        .await;
        assert!(facility(&service, "Accra Central").await.is_some());
        wait_until("the facility's days are those of UTC", async || {
            day(&service, &tema, "2024-01-05").await["total_transferred"] == 9
        })
        .await;
        audited(launch).await;
    }
}

#[tokio::test]
async fn an_import_that_was_killed_half_way_is_undone_completely() {
    for launch in both_stores().await {
        launch.run(&["migrate"]).await;
        let url = launch.database_url();
        let before = tables::sources(url).await;
        write(&launch, "many.csv", &many_rows(15_000));
        let running = launch.start_command(&["import", "requests", "many.csv", MANY[0]]);
        wait_until("some chunks are in", async || {
            number(url, "SELECT count(*) FROM blood_requests").await >= 2_000
        })
        .await;
        running.signal(libc::SIGKILL);
        running.wait().await;
        assert!(launch.run(&["imports"]).await.output.contains(
            "it is under way or broke off: its command goes on, import undo 1 takes it back"
        ));
        // The undo is interrupted, too, and then continued.
        let running = launch.start_command(&["import", "undo", "1"]);
        wait_until("the undo has begun", async || {
            number(url, "SELECT count(*) FROM file_imports WHERE undo_began_at IS NOT NULL").await
                == 1
        })
        .await;
        running.signal(libc::SIGKILL);
        running.wait().await;
        let is_done =
            number(url, "SELECT count(*) FROM file_imports WHERE undone_at IS NOT NULL").await == 1;
        if !is_done {
            assert!(launch.run(&["imports"]).await.output.contains("import undo 1 goes on"));
            undone(&launch, 1).await;
        }
        assert_eq!(tables::sources(url).await, before);
        for table in ["imported_rows", "imported_days"] {
            assert_eq!(number(url, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
        audited(&launch).await;
    }
}

#[tokio::test]
async fn an_import_is_undone_once_and_must_exist() {
    for launch in both_stores().await {
        let exited = launch.run(&["import", "undo", "7"]).await;
        assert_eq!(exited.code, Some(1));
        assert!(
            exited.output.contains(
                "there is no import 7; facility-summary imports lists those that there are"
            ),
            "{}",
            exited.output
        );
        write(&launch, "supply.csv", "date,to,units\n2024-01-05,Tema,3\n");
        imported(&launch, "distributions", "supply.csv", &[DELIVERIES]).await;
        undone(&launch, 1).await;
        let exited = launch.run(&["import", "undo", "1"]).await;
        assert_eq!(exited.code, Some(1));
        assert!(exited.output.contains("import 1 was undone already, on 2"), "{}", exited.output);
    }
}

#[tokio::test]
async fn rows_of_two_imports_are_removed_with_the_last_of_them() {
    for launch in both_stores().await {
        let url = launch.database_url();
        let count = async || number(url, "SELECT count(*) FROM blood_distributions").await;
        write(&launch, "january.csv", "date,to,units\n2024-01-05,Tema,3\n2024-01-06,Tema,2\n");
        write(&launch, "february.csv", "date,to,units\n2024-01-06,Tema,2\n2024-02-07,Tema,1\n");
        imported(&launch, "distributions", "january.csv", &[DELIVERIES, &["--source=tema"]]).await;
        imported(&launch, "distributions", "february.csv", &[DELIVERIES, &["--source=tema"]]).await;
        assert_eq!(count().await, 3);
        let output = undone(&launch, 1).await;
        assert!(
            output.contains("1 rows are gone")
                && output.contains("1 rows are in another import, too: left"),
            "{output}"
        );
        assert!(
            output.contains("1 facilities are referred to by something else: left (Tema)"),
            "{output}"
        );
        assert_eq!(count().await, 2);
        undone(&launch, 2).await;
        assert_eq!((count().await, number(url, "SELECT count(*) FROM facilities").await), (0, 0));
        audited(&launch).await;
    }
}

#[tokio::test]
async fn a_row_with_an_id_of_its_own_goes_back_to_what_it_was() {
    let options: &[&str] = &["--columns=id=id,date_delivered=date,facility=to,quantity=units"];
    for launch in both_stores().await {
        let url = launch.database_url();
        let row = |date: &str, units: u32| {
            format!("id,date,to,units\n00000000-0000-0000-0000-000000000005,{date},Tema,{units}\n")
        };
        for (file, date, units) in
            [("a.csv", "2024-01-06", 2), ("b.csv", "2024-01-08", 3), ("c.csv", "2024-01-07", 4)]
        {
            write(&launch, file, &row(date, units));
            imported(&launch, "distributions", file, &[options]).await;
        }
        let units = async || {
            number(url, "SELECT coalesce(sum(quantity), 0) FROM blood_distributions").await
        };
        assert_eq!(units().await, 3);
        for (import, wanted) in [(2, 4), (1, 4), (3, 0)] {
            undone(&launch, import).await;
            assert_eq!(units().await, wanted, "without {import}");
        }
        audited(&launch).await;
    }
}
