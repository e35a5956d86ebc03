//! Closed days: several rows about one figure, and days that two imports record.

use serde_json::json;

use super::{
    audited, both_stores, day, facility_id, import, imported, wait_for_day, wait_until, write,
};
use crate::{on_both_stores, support::plain_sql::number};

const LOTS: &[&str] = &["--columns=facility=bank,date=date,blood_type=type,quantity=units"];

#[tokio::test]
async fn several_rows_of_a_day_are_a_fault_that_names_both_lines_unless_same_day_is_given() {
    for launch in both_stores().await {
        let url = launch.database_url();
        write(
            &launch,
            "lots.csv",
            "bank,date,type,units\nTema,2024-01-05,O+,5\nTema,2024-01-05,O+,5\nTema,2024-01-05,O+,\
             5\n",
        );
        let exited = import(&launch, "stock-history", "lots.csv", &[LOTS]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        for wants in [
            "line 3, column \"units\": \"5\" is a second figure",
            "line 2 says 5",
            "--same-day sum, last or highest",
            "Nothing was written",
        ] {
            assert!(exited.output.contains(wants), "{wants}: {}", exited.output);
        }
        assert_eq!(number(url, "SELECT count(*) FROM facilities").await, 0);
        let output =
            imported(&launch, "stock-history", "lots.csv", &[LOTS, &["--same-day=sum"]]).await;
        assert!(
            output.contains("3 rows read, 3 in")
                && output.contains("1 figure of a facility, day and blood type from several rows"),
            "{output}"
        );
        assert_eq!(
            number(url, "SELECT coalesce(sum(total_stock), 0) FROM dashboard_daily_summary").await,
            15
        );
        audited(&launch).await;
    }
}

#[tokio::test]
async fn the_last_figure_of_a_day_goes_by_its_time_where_there_is_one() {
    for launch in both_stores().await {
        let stock = async || {
            number(
                launch.database_url(),
                "SELECT coalesce(sum(total_stock), 0) FROM dashboard_daily_summary",
            )
            .await
        };
        write(
            &launch,
            "a.csv",
            "bank,date,type,units\nTema,2024-01-05 18:00,O+,7\nTema,2024-01-05 08:00,O+,9\n",
        );
        let output =
            imported(&launch, "stock-history", "a.csv", &[LOTS, &["--same-day=last"]]).await;
        assert!(output.contains("the last by its time counts"), "{output}");
        assert_eq!(stock().await, 7);
        imported(&launch, "stock-history", "a.csv", &[LOTS, &["--same-day=highest"]]).await;
        assert_eq!(stock().await, 9);
        write(
            &launch,
            "a.csv",
            "bank,date,type,units,at\nTema,05.01.2024,O+,3,2024-01-05T20:00Z\nTema,05.01.2024,O+,\
             4,2024-01-05T10:00Z\n",
        );
        let by = [
            "--columns=facility=bank,date=date,blood_type=type,quantity=units,recorded_at=at",
            "--date-format=%d.%m.%Y",
        ];
        imported(&launch, "stock-history", "a.csv", &[&by, &["--same-day=last"]]).await;
        assert_eq!(stock().await, 3);
        let output = imported(
            &launch,
            "stock-history",
            "a.csv",
            &[LOTS, &["--same-day=last", "--date-format=%d.%m.%Y"]],
        )
        .await;
        assert!(output.contains("the last in the file counts, as no row has a time"), "{output}");
        assert_eq!(stock().await, 4);
        for (kind, options) in [
            ("stock-history", &[&by[..]][..]),
            ("requests", &[&["--columns=created_at=at,facility=bank"], &["--same-day=sum"]]),
        ] {
            let exited = import(&launch, kind, "a.csv", options).await;
            assert_eq!(exited.code, Some(2), "{}", exited.output);
            assert!(exited.output.contains("--same-day"), "{}", exited.output);
        }
    }
}

#[tokio::test]
async fn rows_of_one_day_may_stand_a_thousand_rows_apart() {
    for launch in both_stores().await {
        let url = launch.database_url();
        // Twenty days of twelve banks. The rows of one day are 240 lines apart.
        let rows: String = (0..2_400)
            .map(|n| format!("Bank {},2024-03-{:02},O+,1\n", n % 12, 1 + n / 12 % 20))
            .collect();
        write(&launch, "lots.csv", &format!("bank,date,type,units\n{rows}"));
        for (rule, wanted) in [("sum", 2_400), ("highest", 240), ("last", 240)] {
            imported(
                &launch,
                "stock-history",
                "lots.csv",
                &[LOTS, &[&format!("--same-day={rule}")]],
            )
            .await;
            assert_eq!(
                number(url, "SELECT sum(total_stock) FROM dashboard_daily_summary").await,
                wanted,
                "{rule}"
            );
        }
        audited(&launch).await;
    }
}

on_both_stores! {
    async fn days_for_which_another_import_had_other_figures_are_counted_and_named(
        service: Service,
    ) {
        let launch = service.launch();
        let file = |units: u32| {
            let rows: String = (1..=20)
                .map(|day| {
                    format!("Seoul,2024-03-{day:02},O+,{units}\nSeoul,2024-03-{day:02},A+,1\n")
                })
                .collect();
            format!("bank,date,type,units\n{rows}")
        };
        write(launch, "kr_stock.csv", &file(4));
        write(launch, "other.csv", &file(5));
        imported(launch, "stock-history", "kr_stock.csv", &[LOTS]).await;
        let dry = imported(launch, "stock-history", "other.csv", &[LOTS, &["--dry-run"]]).await;
        assert!(
            dry.contains(
                "20 days had other figures from kr_stock: they would be replaced \
             (Seoul 2024-03-01, "
            ),
            "{dry}"
        );
        let output = imported(launch, "stock-history", "other.csv", &[LOTS]).await;
        assert!(
            output
                .contains("20 days had other figures from kr_stock: replaced (Seoul 2024-03-01, "),
            "{output}"
        );
        let again = imported(launch, "stock-history", "other.csv", &[LOTS]).await;
        assert!(!again.contains("other figures") && again.contains("nothing changed"), "{again}");
        let seoul = facility_id(&service, "Seoul").await;
        wait_for_day(&service, &seoul, "2024-03-07", [json!(6), json!(0), json!(0)]).await;

        // The later import replaced the figures. To undo the earlier one changes no figure.
        let undone = launch.run(&["import", "undo", "1"]).await;
        assert!(
            undone.output.contains(
                "20 closed days have figures that were recorded since: left \
             (Seoul 2024-03-01, "
            ),
            "{}",
            undone.output
        );
        assert_eq!(day(&service, &seoul, "2024-03-07").await["total_stock"], 6);
        let undone = launch.run(&["import", "undo", "2"]).await;
        assert!(
            undone.output.contains("20 closed days are as they were before; 1 facilities are gone"),
            "{}",
            undone.output
        );
        wait_until("Seoul is gone", async || {
            service.get(&format!("/v1/facilities/{seoul}")).await.status() == 404
        })
        .await;
        audited(launch).await;
    }
}
