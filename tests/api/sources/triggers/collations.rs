//! Databases and columns with collations, and settings, under which texts are others than usual.

use serde_json::Value;

use super::{adopt, is_noticed, only_marks, triggers};
use crate::{
    sources::{HOSPITAL, MAPPING, now, sources_of, today_of},
    steps::read,
    support::{Service, outside::Outside, postgres::fresh_database, wait_until},
};

/// Under a Turkish collation the capital of `i` is another letter, and the small one of `I`. A
/// column whose collation is not deterministic is matched with no pattern. And the database has
/// all names quoted.
#[tokio::test]
async fn a_turkish_database_with_quoted_names_is_read_like_any_other() {
    let empty = fresh_database().await;
    let (address, name) = empty.rsplit_once('/').expect("a path");
    let turkish = format!("{name}_tr");
    Outside::connect(&empty)
        .await
        .run(format!(
            "CREATE DATABASE {turkish} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu \
             ICU_LOCALE 'tr-TR' LOCALE 'C.UTF-8'"
        ))
        .await;
    let url = format!("{address}/{turkish}");
    let mut sql = Outside::connect(&url).await;
    sql.run(HOSPITAL).await;
    sql.run(format!(
        "ALTER DATABASE {turkish} SET quote_all_identifiers = on; CREATE COLLATION public.ci \
         (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE \
         public.movement ALTER product TYPE text COLLATE public.ci; ALTER TABLE public.hospital \
         ALTER title TYPE text COLLATE public.ci; ALTER TABLE public.bag ADD ends timestamp; \
         UPDATE public.bag SET ends = now() AT TIME ZONE 'Europe/Istanbul' + interval '1 hour'; \
         TRUNCATE public.movement"
    ))
    .await;
    let mapping = MAPPING
        .replace("Africa/Accra", "Europe/Istanbul")
        .replace("b.expiry\"\nexpires_as = \"date\"", "b.ends\"\nexpires_as = \"local\"")
        .replace("usable_on_expiry_day = true\n", "");
    let launch = Service::on(url);
    let file = sources_of(&launch);
    std::fs::write(&file, mapping).expect("the folder can be written");
    let said = adopt(&launch, &["check"]).await;
    assert!(!said.contains("no time zone") && !said.contains("does not fit"), "{said}");
    adopt(&launch, &["install"]).await;
    let launch = only_marks(launch.argument("--sources").argument(&file));
    let service = launch.start().await;
    is_noticed(&service).await;
    assert_eq!(triggers(&service).await["state"], "up", "{}", triggers(&service).await);
    assert_eq!(now(&service, "1").await["total_stock"], 4);
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") \
         SELECT 'delivery', 1, product, units, now() AT TIME ZONE 'Europe/Istanbul' FROM \
         (VALUES ('A positive', 1), \
         ('o negative', 2), (E'AB\\u00a0rhesus positive', 4), ('B posıtıve', 8), ('rbc-op', 16)) \
         AS v (product, units)",
    )
    .await;
    let path = today_of(&service, "1").await;
    wait_until("each notation is read", async || {
        let answer: Value = read(&service, &path, "").await.json().await.expect("JSON");
        let types = &answer["by_blood_type"];
        let of = |blood_type: &str| types[blood_type]["transferred"].as_i64();
        [("A+", 1), ("O-", 2), ("AB+", 4), ("B+", 8), ("unknown", 16)]
            .iter()
            .all(|(blood_type, units)| of(blood_type) == Some(*units))
    })
    .await;
    assert_eq!(read(&service, "/v1/summaries/today", "no-cache").await.status(), 200);
}
