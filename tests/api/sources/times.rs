//! Rows are counted on the facility's local day whatever kind of value their time is, and a blood
//! type whatever way it is written.

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde_json::Value;

use super::{MAPPING, mapped, today_of};
use crate::{
    steps::{get, read},
    support::outside::Outside,
};

/// Instants around the bounds of a day whose clocks change, and in it.
const NEAR: [i64; 9] = [-7_200_000, -3_600_000, -60_000, -1, 0, 1, 3_599_999, 3_600_000, 7_200_000];

/// A mapping of one table of requests whose time is of this kind.
fn requests(column: &str, kind: &str, zone: &str) -> String {
    format!(
        "[sources.facilities]\nfrom = \"public.hospital h\"\nkey = \"h.id\"\nname = \"h.title\"\n\
         timezone = \"'{zone}'\"\nwhere = \"h.closed_on IS NULL\"\n\
         [[sources.requests]]\nfrom = \"public.asked r\"\nfacility = \"r.hospital_id\"\n\
         at = \"r.{column}\"\nat_as = \"{kind}\"\n"
    )
}

async fn ask(sql: &mut Outside, zone: &str, at: Timestamp) {
    sql.run(format!(
        "INSERT INTO public.asked (hospital_id, at, at_utc, at_local, at_lima, day) SELECT 1, t, \
         t AT TIME ZONE 'UTC', t AT TIME ZONE '{zone}', t AT TIME ZONE 'America/Lima', \
         (t AT TIME ZONE '{zone}')::date FROM (SELECT '{at}'::timestamptz) AS given (t)"
    ))
    .await;
}

/// The day has 23 or 25 hours where the clocks change. Each kind of time counts the same rows on
/// it, and on the days beside it.
#[tokio::test]
async fn each_kind_of_time_counts_rows_on_the_facilitys_local_day() {
    for (zone, day) in [
        ("Europe/Warsaw", Date::constant(2026, 3, 29)),
        ("America/Santiago", Date::constant(2026, 4, 4)),
        ("Asia/Kathmandu", Date::constant(2026, 5, 5)),
    ] {
        let tz = TimeZone::get(zone).expect("a zone");
        let mut expected = [0_u64; 3];
        let (launch, mut sql) = mapped(&requests("at", "instant", zone)).await;
        sql.run(
            "CREATE TABLE public.asked (hospital_id integer, at timestamptz, at_utc timestamp, \
             at_local timestamp, at_lima timestamp, day date)",
        )
        .await;
        let days = [day.yesterday().expect("a day"), day, day.tomorrow().expect("a day")];
        for date in days {
            let start = date.to_zoned(tz.clone()).expect("it begins").timestamp();
            for near in NEAR {
                let at = start + near.milliseconds();
                ask(&mut sql, zone, at).await;
                let of = at.to_zoned(tz.clone()).date();
                if let Some(nth) = days.iter().position(|day| *day == of) {
                    expected[nth] += 1;
                }
            }
        }
        let mut launch = launch;
        for (column, kind) in [
            ("at", "instant"),
            ("at_utc", "utc"),
            ("at_local", "local"),
            ("at_lima", "America/Lima"),
            ("day", "date"),
        ] {
            let mapping = requests(column, kind, zone);
            std::fs::write(super::sources_of(&launch), mapping).expect("it can be written");
            let service = launch.start().await;
            let path = today_of(&service, "1")
                .await
                .replace("/today", &format!("?from={}&to={}", days[0], days[2]));
            let answer = read(&service, &path, "no-cache").await;
            let range: Value = answer.json().await.expect("JSON");
            let shown: Vec<u64> = range["items"]
                .as_array()
                .expect("days")
                .iter()
                .rev() // the newest comes first
                .map(|item| item["total_requests"].as_u64().expect("a number"))
                .collect();
            assert_eq!(shown, expected, "{kind} in {zone}: {range}");
            (_, launch) = service.terminate().await;
        }
    }
}

/// A unit may be used until its time; on the day of its date only where the mapping says so.
#[tokio::test]
async fn expired_units_are_not_in_stock() {
    let zone = "Africa/Accra";
    for (kind, usable, in_stock) in [
        ("date", true, 3),
        ("date", false, 2),
        ("local", false, 2),
        ("utc", false, 2),
        ("Africa/Accra", false, 2),
    ] {
        let mapping = MAPPING
            .replace("expires_as = \"date\"", &format!("expires_as = \"{kind}\""))
            .replace("usable_on_expiry_day = true", &format!("usable_on_expiry_day = {usable}"));
        let (launch, _) = mapped(&mapping).await;
        let service = launch.start().await;
        let summary = get(&service, &today_of(&service, "1").await).await;
        assert_eq!(summary["total_stock"], in_stock, "{kind} in {zone}: {summary}");
    }
}

/// The server reads the notations that an import reads, and the mapping's own texts before them.
#[tokio::test]
async fn blood_types_are_read_in_the_notations_of_an_import() {
    use facility_summary::domain::blood_type::BloodType;
    let texts = [
        "O+",
        "o pos",
        "O Rh D Positive",
        "0+",
        "0 NEG",
        "A-",
        "A_NEGATIVE",
        "APos",
        "a RhD neg",
        "B+ve",
        "B-VE",
        "AB POS",
        "ab−",
        "AB–",
        "Rh+ A",
        "O",
        "A",
        "+",
        "",
        "C+",
        "O++",
        "RBC-OP",
        "unknown",
        "AB (RhD) positive",
        "A, positive",
        "O/+",
        "BP",
        "ABN",
    ];
    let mapping = format!(
        "{}where = \"true\"\n[sources.blood_types]\n\"RBC-OP\" = \"O+\"\n",
        requests("at", "instant", "UTC").replace("at = ", "blood_type = \"r.kind\"\nat = ")
    );
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run("CREATE TABLE public.asked (hospital_id integer, at timestamptz, kind text)").await;
    let mut expected = std::collections::BTreeMap::new();
    for text in texts {
        sql.run(format!("INSERT INTO public.asked VALUES (1, now(), '{text}')")).await;
        let read = if text == "RBC-OP" {
            Some("O+")
        } else {
            BloodType::from_notation(text).map(BloodType::as_str)
        };
        *expected.entry(read.unwrap_or("unknown")).or_insert(0) += 1;
    }
    let service = launch.start().await;
    let summary = get(&service, &today_of(&service, "1").await).await;
    let shown: std::collections::BTreeMap<&str, u64> = summary["by_blood_type"]
        .as_object()
        .expect("types")
        .iter()
        .map(|(of, figures)| (of.as_str(), figures["requests"].as_u64().expect("a number")))
        .collect();
    assert_eq!(shown, expected, "{summary}");
}
