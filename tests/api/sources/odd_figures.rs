//! Figures of mapped tables that no table of ours could have: below 0, not a number, infinite, too
//! large. And days that have closed, of a facility that leaves the mapping.

use serde_json::{Value, json};

use super::{MAPPING, mapped, now, run, today_of, totals, with_key};
use crate::{
    steps::{Scrape, get, read},
    support::{Service, outside::Outside, site::rebuild, wait_until},
};

/// The mapping with a ledger of movements in the place of the bags.
pub fn ledger() -> String {
    let (before, rest) = MAPPING.split_once("[[sources.stock]]").expect("it has stock");
    let (_, after) = rest.split_once("[[sources.deliveries]]").expect("it has deliveries");
    format!(
        "{before}[[sources.stock]]\nfrom = \"public.ledger l\"\nfacility = \
         \"l.hospital\"\nblood_type = \"l.kind\"\nquantity = \
         \"l.units\"\n\n[[sources.deliveries]]{after}"
    )
}

pub const LEDGER: &str = "CREATE TABLE public.ledger (hospital integer, kind text, units float8)";

/// A service beside a ledger with these rows, of which nothing but a reader refreshes a figure.
pub async fn beside(rows: &str) -> (Service, Outside) {
    let (launch, mut sql) = mapped(&ledger()).await;
    sql.run(format!("{LEDGER}; INSERT INTO public.ledger VALUES {rows}")).await;
    let service = launch
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0)
        .start()
        .await;
    (service, sql)
}

/// Makes today's rows those of yesterday, as they were written then.
pub const YESTERDAY: &str = "
    UPDATE facility_summary.dashboard_daily_summary SET date = date - 1, day_start = day_start - \
                         interval '1 day', day_end = day_end - interval '1 day'";

/// Yesterday's summary, derived anew.
pub async fn yesterday(service: &Service, key: &str) -> Value {
    let today = now(service, key).await;
    let date: jiff::civil::Date = today["date"].as_str().expect("a date").parse().expect("a date");
    let path = today_of(service, key).await;
    let path = path.replace("today", &date.yesterday().expect("a date").to_string());
    let answer = read(service, &path, "no-cache").await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn a_stock_below_0_is_shown_and_its_day_closes_with_it() {
    let (service, mut sql) = beside("(1, 'O+', 5), (1, 'O+', -8), (1, 'A-', 1)").await;
    assert_eq!(now(&service, "1").await["total_stock"], -2);
    let (_, launch) = service.terminate().await;
    sql.run(YESTERDAY).await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") VALUES \
         ('delivery', 1, 'O+', 3, (now() AT TIME ZONE 'Africa/Accra')::date - interval '1 hour')",
    )
    .await;
    let service = launch.start().await;
    let closed = yesterday(&service, "1").await;
    assert_eq!((&closed["total_stock"], &closed["total_transferred"]), (&json!(-2), &json!(3)));
    assert_eq!(closed["by_blood_type"]["O+"]["stock"], -3, "{closed}");
    assert_eq!(closed["by_blood_type"]["A-"]["stock"], 1, "{closed}");
}

/// What `/health/ready` says of rows that do not count.
async fn odd_rows(service: &Service) -> Option<String> {
    let ready = get(service, "/health/ready").await;
    let dependencies = ready["dependencies"].as_array().expect("a list");
    let odd = dependencies.iter().find(|one| one["name"] == "source_rows")?;
    Some(odd["remedy"].as_str().expect("words").to_owned())
}

#[tokio::test]
async fn a_quantity_that_is_none_does_not_count_and_is_named() {
    let odd = "(1, 'O+', 5), (1, 'O+', 'NaN'), (1, 'A-', 'Infinity'), (1, 'A-', 1e300), (1, 'A-', \
               2), (2, 'B+', 7), (1, 'B+', NULL)";
    let (service, mut sql) = beside(odd).await;
    let ridge = now(&service, "1").await;
    assert_eq!(ridge["total_stock"], 7, "{ridge}");
    assert_eq!(now(&service, "2").await["total_stock"], 7);
    let list = get(&service, "/v1/summaries/today").await;
    assert_eq!(list["totals"]["total_stock"], 14, "{list}");
    let said = odd_rows(&service).await.expect("it is said");
    let id = ridge["facility_id"].as_str().expect("an id");
    for words in ["3 rows of mapped tables", "3 of sources.stock[0]", id] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert_eq!(
        Scrape::of(&service).await.sum("source_odd_rows", &[("list", "sources.stock[0]")]),
        3.0
    );
    let logged = service
        .logged("rows with a quantity that is not a number, or beyond a billion, do not count");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0]["list"], "sources.stock[0]");
    let checked = run(service.launch(), &["adopt", "check"]).await;
    let line = "  3 rows of facility \"1\" with a quantity that is not a number, or beyond a \
                billion: not counted";
    assert!(checked.output.lines().any(|shown| shown == line), "{}", checked.output);
    assert!(checked.output.contains("  today 14\n"), "{}", checked.output);

    // Another process has not met them yet, and a comparison without a difference is enough for it.
    rebuild(&service).await;
    let (_, launch) = service.terminate().await;
    let service = launch.start().await;
    let rebuilt = rebuild(&service).await;
    assert_eq!(rebuilt["changed"], 0, "{rebuilt}");
    assert!(odd_rows(&service).await.is_some());
    sql.run("DELETE FROM public.ledger WHERE units = 'NaN' OR units > 1e9").await;
    now(&service, "1").await;
    assert_eq!(odd_rows(&service).await, None);
    assert_eq!(Scrape::of(&service).await.sum("source_odd_rows", &[]), 0.0);
}

#[tokio::test]
async fn a_facility_that_leaves_the_mapping_and_comes_back_has_the_stock_of_its_past_days() {
    let (service, mut sql) = beside("(1, 'O+', 5), (1, 'A-', 2), (2, 'B+', 7)").await;
    for key in ["1", "2"] {
        now(&service, key).await;
    }
    let (_, launch) = service.terminate().await;
    sql.run(YESTERDAY).await;
    sql.run("UPDATE public.ledger SET units = units + 100").await;
    let service = launch.start().await;
    assert_eq!(yesterday(&service, "1").await["total_stock"], 7);
    sql.run("UPDATE public.hospital SET closed_on = '2020-01-01' WHERE id = 1").await;
    let rows = "SELECT count(*) FROM facility_summary.dashboard_daily_summary s JOIN \
                facility_summary.facility_key k ON k.facility_id = s.facility_id WHERE k.key = 1";
    wait_until("it has left, with its days", async || {
        read(&service, "/v1/summaries/today", "no-cache").await;
        with_key(&service, "1").await.is_none() && sql.number(rows).await == 0
    })
    .await;
    sql.run(
        "UPDATE public.hospital SET closed_on = NULL WHERE id = 1; INSERT INTO public.movement \
         (kind, hospital_id, product, units, \"At\") VALUES ('delivery', 1, 'O+', 3, (now() AT \
         TIME ZONE 'Africa/Accra')::date - interval '1 hour')",
    )
    .await;
    wait_until("it is back", async || {
        read(&service, "/v1/summaries/today", "no-cache").await;
        with_key(&service, "1").await.is_some()
    })
    .await;
    assert_eq!(totals(&now(&service, "1").await), [207, 4, 1]);
    let closed = yesterday(&service, "1").await;
    assert_eq!((&closed["total_stock"], &closed["total_transferred"]), (&json!(7), &json!(3)));
    assert_eq!(closed["by_blood_type"]["O+"]["stock"], 5, "{closed}");
    assert_eq!(closed["by_blood_type"]["A-"]["stock"], 2, "{closed}");
    assert_eq!(sql.number("SELECT count(*) FROM facility_summary.closed_stock").await, 0);
    assert_eq!(yesterday(&service, "2").await["total_stock"], 7);
}
