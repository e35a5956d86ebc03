//! Mappings and tables out of the ordinary.

use serde_json::Value;

use super::{MAPPING, mapped, now, run, sources_of, today_of, with_key};
use crate::steps::{get, read};

/// The mapping without the lists of one figure.
fn without(list: &str) -> String {
    let mut tables = MAPPING
        .split_inclusive("\n\n")
        .filter(|table| !table.starts_with(&format!("[[sources.{list}]]")));
    let mut mapping: String = tables.by_ref().collect();
    mapping.push('\n');
    mapping
}

#[tokio::test]
async fn a_changed_mapping_shows_nothing_of_the_earlier_one() {
    let (launch, _) = mapped(&without("stock")).await;
    let service = launch.start().await;
    let path = today_of(&service, "1").await;
    assert!(now(&service, "1").await["total_stock"].is_null());
    let (_, launch) = service.terminate().await;
    std::fs::write(sources_of(&launch), MAPPING).expect("it can be written");
    let service = launch.start().await;
    assert_eq!(get(&service, &path).await["total_stock"], 3);
    assert_eq!(get(&service, "/v1/summaries/today").await["totals"]["total_stock"], 4);
    let (_, launch) = service.terminate().await;
    std::fs::write(sources_of(&launch), without("stock")).expect("it can be written");
    let service = launch.start().await;
    assert!(get(&service, &path).await["total_stock"].is_null());
    let (_, launch) = service.terminate().await;

    let other = MAPPING.replace("public.hospital h", "public.store h").replace("h.title", "'x'");
    let other = other.replace("where = \"h.closed_on IS NULL\"\n", "");
    std::fs::write(sources_of(&launch), other).expect("it can be written");
    let exited = run(&launch, &["migrate"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("h.id FROM public.hospital h"), "{}", exited.output);
}

/// Sites with quoted names, and units that a comma joins with them.
const SITES: &str = r#"
[sources.facilities]
from = 'public."Site" s'
key = "s.code"
name = "s.code::text"
timezone = "'UTC'"

[[sources.stock]]
from = 'public.unit u, public."Site" own'
facility = "own.code"
where = "u.site = own.code"
"#;

#[tokio::test]
async fn keys_of_any_type_name_their_facilities() {
    for (kind, keys) in [
        ("char(8)", ["AB01", "AB02"]),
        ("varchar(9)", ["AB 01", "O''Neill"]),
        ("numeric(6,2)", ["1.50", "1.55"]),
        ("bit(4)", ["0001", "1001"]),
        ("uuid", ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]),
    ] {
        let (launch, mut sql) = mapped(SITES).await;
        let [one, other] = keys;
        for statement in [
            format!("CREATE TABLE public.\"Site\" (code {kind} PRIMARY KEY)"),
            format!("CREATE TABLE public.unit (site {kind})"),
            format!("INSERT INTO public.\"Site\" VALUES ('{one}'), ('{other}')"),
            format!("INSERT INTO public.unit VALUES ('{one}'), ('{one}'), ('{other}')"),
        ] {
            sql.run(statement).await;
        }
        let checked = run(&launch, &["adopt", "check"]).await;
        assert_eq!(checked.code, Some(0), "{kind}: {}", checked.output);
        assert!(checked.output.contains("3 rows of 2 facilities"), "{kind}: {}", checked.output);
        let service = launch.start().await;
        for _ in 0..2 {
            let list = get(&service, "/v1/summaries/today?sort=total_stock").await;
            let stocks: Vec<&Value> = list["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|i| &i["total_stock"])
                .collect();
            assert_eq!(stocks, [1, 2], "{kind}: {list}");
        }
        if kind == "uuid" {
            let facility = with_key(&service, keys[0]).await.expect("it is mapped");
            assert_eq!(facility["facility_id"], keys[0]);
        }
        assert_eq!(service.logged("the mapped facilities have changed").len(), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_facility_without_a_zone_or_in_an_unknown_one_has_the_days_of_utc() {
    let mapping = MAPPING
        .replace("\"'Africa/Accra'\"", "\"h.zone\"")
        .replace("expires_as = \"date\"", "expires_as = \"local\"");
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run("ALTER TABLE public.hospital ADD zone text").await;
    sql.run("UPDATE public.hospital SET zone = 'Mars/Phobos' WHERE id = 2").await;
    let service = launch.start().await;
    assert_eq!(now(&service, "1").await["total_stock"], 2);
    assert_eq!(now(&service, "2").await["total_stock"], 1);
    assert_eq!(with_key(&service, "1").await.expect("it is mapped")["timezone"], "UTC");
    let unknown = with_key(&service, "2").await.expect("it is mapped");
    assert!(unknown["timezone_error"].as_str().expect("words").contains("Mars/Phobos"));
    let list = get(&service, "/v1/summaries/today").await;
    assert_eq!(list["totals"]["total_stock"], 3, "{list}");
    let checked = run(service.launch(), &["adopt", "check"]).await;
    assert!(checked.output.contains("1 row with \"Mars/Phobos\", which is no time zone"));
    assert!(checked.output.contains("1 row without a zone"), "{}", checked.output);
}

/// A mapping may have stock only: then no time is looked up.
#[tokio::test]
async fn one_list_is_enough() {
    let begin = MAPPING.find("[[sources.deliveries]]").expect("it is there");
    let (launch, _) = mapped(&MAPPING[..begin]).await;
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(ridge["total_stock"], 3);
    assert!(ridge["total_requests"].is_null() && ridge["total_transferred"].is_null(), "{ridge}");
    for command in [&["rebuild", "--all"][..], &["audit"]] {
        let exited = run(service.launch(), command).await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
    }
}

/// A mapping whose tables have this alias, and columns with names of ours.
fn clinics(alias: &str) -> String {
    format!(
        "[sources.facilities]\nfrom = \"public.clinic {alias}\"\nkey = \"{alias}.facility_id\"\n\
         name = \"{alias}.date\"\ntimezone = \"{alias}.timezone\"\n[[sources.stock]]\nfrom = \
         \"public.unit {alias}\"\nfacility = \"{alias}.key\"\nquantity = \"{alias}.stock\"\n"
    )
}

/// The mapping's text stands inside our statements: an alias, or a column, that has a name of ours
/// is still the owner's.
#[tokio::test]
async fn a_mapping_may_have_any_alias_and_names_of_columns() {
    for alias in ["k", "key", "place", "held", "f", "one", "part"] {
        let (launch, mut sql) = mapped(&clinics(alias)).await;
        sql.run(
            "CREATE TABLE public.clinic (facility_id uuid PRIMARY KEY, date text, timezone text)",
        )
        .await;
        sql.run("CREATE TABLE public.unit (key uuid, stock integer)").await;
        for zone in ["Africa/Accra", "Asia/Tokyo", "America/Lima"] {
            let clinic = format!("(gen_random_uuid(), '{zone}', '{zone}')");
            sql.run(format!("INSERT INTO public.clinic VALUES {clinic}")).await;
        }
        sql.run("INSERT INTO public.unit SELECT facility_id, 7 FROM public.clinic").await;
        let exited = run(&launch, &["adopt", "check"]).await;
        assert_eq!(exited.code, Some(0), "{alias}: {}", exited.output);
        assert!(exited.output.contains("  today 21\n"), "{alias}: {}", exited.output);
        let service = launch.start().await;
        let list = get(&service, "/v1/facilities").await;
        for facility in list["items"].as_array().expect("a list") {
            let id = facility["facility_id"].as_str().expect("an id");
            let path = format!("/v1/facilities/{id}");
            let today = get(&service, &path).await["today"].clone();
            let path = format!("{path}/summaries/today");
            let answer = read(&service, &path, "no-cache").await;
            let summary: Value = answer.json().await.expect("JSON");
            assert_eq!(summary["total_stock"], 7, "{alias}: {facility}: {summary}");
            assert_eq!(summary["date"], today, "{alias}: {facility}: {summary}");
            let counted = sql.number(format!(
                "SELECT count(*) FROM facility_summary.dashboard_daily_summary WHERE facility_id = \
                 '{id}' AND day_start = (date::timestamp AT TIME ZONE '{}')",
                facility["timezone"].as_str().expect("a zone")
            ));
            assert_eq!(counted.await, 1, "{alias}: {facility} has the day of another zone");
        }
    }
}
