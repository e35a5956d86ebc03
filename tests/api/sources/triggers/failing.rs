//! Rows on which an expression of the mapping fails: the days that have them stand still, are
//! named, and keep nobody else waiting.

mod replicas;

use reqwest::Method;
use serde_json::{Value, json};

use super::{adopt, beside, is_noticed, only_marks};
use crate::{
    access::forged::Signer,
    live::client::Events,
    sources::{mapped, run, today_of},
    steps::{Scrape, age, batch, get, read},
    support::{Service, events::event, outside::Outside, wait_until},
};

const MAPPING: &str = r#"
[sources.facilities]
from = "public.clinic c"
key = "c.no"
name = "c.label"
timezone = "'UTC'"

[[sources.stock]]
from = "public.unit u"
facility = "u.clinic"
quantity = "u.total / u.packs"

[[sources.deliveries]]
from = "public.delivery d"
facility = "d.clinic"
quantity = "d.units"
at = "d.day"
at_as = "date"
where = "10 / d.share > 0"
"#;

const TABLES: &str = "
    CREATE TABLE public.clinic (no integer PRIMARY KEY, label text);
    CREATE TABLE public.unit (id integer PRIMARY KEY, clinic integer, total integer,
        packs integer NOT NULL DEFAULT 1);
    CREATE TABLE public.delivery (id integer PRIMARY KEY, clinic integer, units integer, day date,
        share integer NOT NULL DEFAULT 1);
    INSERT INTO public.clinic SELECT n, concat('Clinic ', n) FROM generate_series(1, 9) AS n;
    INSERT INTO public.unit SELECT n, n, 10 * n FROM generate_series(1, 9) AS n;";

/// Today's stock, or deliveries, and the age, for readers who take old figures.
async fn today(service: &Service, key: &str, figure: &str) -> (Value, i64) {
    let answer = read(service, &today_of(service, key).await, "").await;
    assert_eq!(answer.status(), 200);
    let age = age(&answer);
    let body: Value = answer.json().await.expect("JSON");
    (body[figure].clone(), age)
}

async fn has(service: &Service, key: &str, figure: &str, value: i64) {
    wait_until(&format!("{figure} of clinic {key} is {value}"), async || {
        today(service, key, figure).await.0 == value
    })
    .await;
}

/// The id of the clinic with this key.
async fn id_of(service: &Service, key: &str) -> String {
    today_of(service, key).await.split('/').nth(3).expect("an id").to_owned()
}

/// A list, and what it says of its totals.
async fn list(service: &Service, query: &str) -> (Value, Value) {
    let list = get(service, &format!("/v1/summaries/today?sort=name{query}")).await;
    let totals = list["totals"].clone();
    (list, totals)
}

/// What totals say where so many facilities have no figures.
fn uncounted(facilities: usize) -> Value {
    json!({"facilities": facilities, "see": "source_days in /health/ready"})
}

/// The first facility of a list has no figures, and the list says why, however it is asked for.
async fn says_why(service: &Service) {
    assert_eq!(Scrape::of(service).await.sum("source_failing_days", &[]), 1.0);
    for (query, items, facilities) in [
        ("", 9, 1),
        ("&fields=totals&limit=1", 9, 1),
        ("&blood_type=O%2B", 9, 1),
        ("&q=clinic", 9, 1),
        // A bound leaves it out, as nobody knows its figure.
        ("&below=stock:100", 8, 1),
        ("&above=stock:0&q=clinic 1", 0, 1),
        ("&q=clinic 2", 1, 0),
    ] {
        let (list, totals) = list(service, query).await;
        assert_eq!(totals["facilities"], items, "{query}: {list}");
        let said = if facilities > 0 { uncounted(facilities) } else { Value::Null };
        assert_eq!(totals["cannot_be_counted"], said, "{query}: {list}");
        let marked: Vec<&Value> = list["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one.get("cannot_be_counted").is_some())
            .collect();
        if items == 9 {
            assert_eq!(marked.len(), 1, "{query}: {list}");
            assert_eq!(marked[0]["cannot_be_counted"], true);
            assert_eq!(marked[0], &list["items"][0]);
            for figure in ["total_stock", "total_transferred", "total_requests"] {
                assert_eq!(marked[0][figure], Value::Null, "{query}: {list}");
            }
        } else {
            assert!(marked.is_empty(), "{query}: {list}");
        }
    }
}

/// What readiness says of days that cannot be counted.
async fn said(service: &Service) -> Option<String> {
    let ready = get(service, "/health/ready").await;
    let all = ready["dependencies"].as_array().expect("a list");
    let days = all.iter().find(|one| one["name"] == "source_days")?;
    Some(days["remedy"].as_str().expect("words").to_owned())
}

/// Waits until everything is proven again: a write that was made now shows, and is recent.
async fn goes_on(service: &Service, sql: &mut Outside, key: &str, total: i64) {
    sql.run(format!("UPDATE public.unit SET total = {total} WHERE id = {key}")).await;
    has(service, key, "total_stock", total).await;
    wait_until("the watermark goes on", async || {
        let ready = get(service, "/health/ready").await;
        ready["watermark_age_seconds"].as_f64().is_some_and(|age| age < 2.0)
    })
    .await;
}

/// Who touches several at once is told which one cannot be counted, and the others are read.
async fn touches_both(service: &Service) {
    let (one, two) = (id_of(service, "1").await, id_of(service, "2").await);
    let touched = [&one, &two].map(|id| event("summary.touched", json!({"facility_id": id})));
    let told = batch(service, &touched).send().await.expect("an answer");
    assert_eq!(told.status(), 200);
    let told: Value = told.json().await.expect("JSON");
    let of = |id: &str| {
        let all = told["summaries"].as_array().expect("a list");
        all.iter().find(|of| of["facility_id"] == id).expect("it is listed").clone()
    };
    assert_eq!(told["applied"], 2, "{told}");
    assert_eq!(
        (&of(&one)["cannot_be_counted"], of(&two).get("cannot_be_counted")),
        (&json!(true), None)
    );
    let stored = get(service, &today_of(service, "1").await).await;
    assert_eq!(of(&one)["version"], stored["version"], "{told}");
}

#[tokio::test]
async fn a_row_that_fails_stops_its_own_day_only() {
    let (service, mut sql, _) = beside(MAPPING, TABLES).await;
    has(&service, "1", "total_stock", 10).await;
    get(&service, "/v1/summaries/today").await;
    sql.run("UPDATE public.unit SET packs = 0 WHERE id = 1").await;
    wait_until("it is named", async || said(&service).await.is_some()).await;
    let words = said(&service).await.expect("it is named");
    for part in ["1 days of 1 facilities", "(key 1)", "sources.stock[0]: division by zero"] {
        assert!(words.contains(part), "{words}");
    }
    goes_on(&service, &mut sql, "2", 21).await;
    // The figures stay as they were, and say how old they are.
    wait_until("its age grows, and that of others does not", async || {
        let ((stock, old), (_, young)) =
            (today(&service, "1", "total_stock").await, today(&service, "2", "total_stock").await);
        assert_eq!(stock, 10);
        old >= 3 && young <= 1
    })
    .await;
    let path = today_of(&service, "1").await;
    let refused = read(&service, &path, "no-cache").await;
    assert_eq!(refused.status(), 503);
    let problem: Value = refused.json().await.expect("JSON");
    assert!(problem["detail"].as_str().expect("words").contains("source_days"), "{problem}");
    // Lists go on without its figures, for every reader.
    for directives in ["", "max-age=1", "no-cache"] {
        let list = read(&service, "/v1/summaries/today?sort=name", directives).await;
        assert_eq!(list.status(), 200, "{directives}");
        assert!(age(&list) <= 1, "{directives}");
        let list: Value = list.json().await.expect("JSON");
        let stocks: Vec<&Value> = list["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| &one["total_stock"])
            .collect();
        assert_eq!(stocks[0], &Value::Null, "{list}");
        assert_eq!(stocks[1..3], [21, 30], "{list}");
    }
    says_why(&service).await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    for part in ["(key 1)", "sources.stock[0]: division by zero", "1 day cannot be counted"] {
        assert!(audited.output.contains(part), "{}", audited.output);
    }
    let checked = run(service.launch(), &["adopt", "check"]).await;
    for part in ["division by zero", "on a row of the facility 1, for one"] {
        assert!(checked.output.contains(part), "{}", checked.output);
    }
    touches_both(&service).await;
    // More writes to it, and to everybody, stop nobody either.
    sql.run("INSERT INTO public.unit VALUES (100, 1, 5, 1); ANALYZE public.unit").await;
    sql.run(
        "BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM public.unit; TRUNCATE public.unit; \
             INSERT INTO public.unit SELECT * FROM kept; COMMIT",
    )
    .await;
    goes_on(&service, &mut sql, "3", 31).await;
    assert_eq!(today(&service, "1", "total_stock").await.0, 10);
    sql.run("UPDATE public.unit SET packs = 2 WHERE id = 1").await;
    has(&service, "1", "total_stock", 10).await;
    has(&service, "1", "total_stock", 10 / 2 + 5).await;
    wait_until("nothing is named any more", async || said(&service).await.is_none()).await;
    let list = get(&service, "/v1/summaries/today?sort=name").await;
    assert_eq!(list["items"][0]["total_stock"], 10, "{list}");
    assert!(!list.to_string().contains("cannot_be_counted"), "{list}");
    wait_until("its age does not grow", async || today(&service, "1", "total_stock").await.1 <= 1)
        .await;
    is_noticed(&service).await;
}

/// The next totals for which that is so.
async fn totals_with(events: &mut Events, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let told = events.until("totals").await.data["totals"].clone();
        if is_so(&told) {
            return told;
        }
    }
}

/// Whoever follows it live is told as well, also when the same figures count again.
#[tokio::test]
async fn live_clients_are_told_which_facility_cannot_be_counted() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(TABLES).await;
    adopt(&launch, &["install"]).await;
    let launch = only_marks(launch).env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    let service = launch.start().await;
    is_noticed(&service).await;
    let one = id_of(&service, "1").await;
    let mut all = Events::open(&service, "subject=all", None).await;
    let mut totals = Events::open(&service, "subject=totals", None).await;
    let mut alone = Events::open(&service, &format!("facility_id={one}"), None).await;
    assert_eq!(alone.until("summary").await.data.get("cannot_be_counted"), None);
    let first = totals.until("totals").await.data["totals"].clone();
    assert_eq!((&first["total_stock"], first.get("cannot_be_counted")), (&json!(450), None));
    sql.run("UPDATE public.unit SET packs = 0 WHERE id = 1").await;
    let told = alone.until("summary").await.data;
    assert_eq!(
        (&told["cannot_be_counted"], &told["summary"]["total_stock"]),
        (&json!(true), &json!(10))
    );
    let told = totals_with(&mut totals, |told| told.get("cannot_be_counted").is_some()).await;
    assert_eq!((&told["total_stock"], &told["cannot_be_counted"]), (&json!(440), &uncounted(1)));
    // The others go on to be exact.
    let (mut exact, mut news) = (Vec::new(), Vec::new());
    while exact.len() < 2 {
        let event = all.next().await.expect("it goes on");
        match event.name.as_str() {
            "heartbeat" if event.data["cannot_be_counted"] == uncounted(1) => {
                exact.push(event.data["exact_as_of"].as_str().expect("an instant").to_owned());
            }
            "summary" | "summaries" => news.push(event.data.to_string()),
            _ => {}
        }
    }
    assert!(exact[0] < exact[1], "{exact:?}");
    assert!(news.iter().any(|told| told.contains("\"cannot_be_counted\":true")), "{news:?}");
    // As before: the figures are the same, and count again.
    sql.run("UPDATE public.unit SET packs = 1 WHERE id = 1").await;
    let told = alone.until("summary").await.data;
    assert_eq!(
        (told.get("cannot_be_counted"), &told["summary"]["total_stock"]),
        (None, &json!(10))
    );
    totals_with(&mut totals, |told| *told == first).await;
    loop {
        if alone.until("heartbeat").await.data.get("cannot_be_counted").is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn who_sees_others_only_is_not_told_of_a_facility_that_cannot_be_counted() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(TABLES).await;
    adopt(&launch, &["install"]).await;
    // One worker has both clients.
    let launch = only_marks(launch)
        .env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1)
        .env("FACILITY_SUMMARY__SERVER__WORKERS", 1);
    let signer = Signer::new();
    let admin = signer.token(json!({"roles": ["admin"], "sub": "the test"}));
    let service = signer.accepted_by(launch).credential(&admin).start().await;
    is_noticed(&service).await;
    let two = id_of(&service, "2").await;
    let of_two = json!({"roles": ["viewer"], "sub": "ann", "facilities": [two]});
    let follows = async |token: String| {
        let path = "/v1/stream?subject=all";
        Events::of(service.request_as(Some(&token), Method::GET, path).send().await.expect("it is"))
    };
    let mut wide = follows(admin).await;
    let mut narrow = follows(signer.token(of_two)).await;
    sql.run("UPDATE public.unit SET packs = 0 WHERE id = 1").await;
    let told = loop {
        let told = wide.until("heartbeat").await.data;
        if told["cannot_be_counted"] == uncounted(1) {
            break told["now"].as_str().expect("an instant").to_owned();
        }
    };
    loop {
        let beat = narrow.until("heartbeat").await.data;
        assert_eq!(beat.get("cannot_be_counted"), None, "{beat}");
        if beat["now"].as_str().expect("an instant") > told.as_str() {
            break;
        }
    }
}

/// The times of its rows cannot be told either, so no day without a row counts as empty.
#[tokio::test]
async fn a_facility_whose_days_cannot_be_told_has_no_empty_day() {
    let (service, mut sql, _) = beside(MAPPING, TABLES).await;
    let path = |today: &str| today.replace("today", "2020-01-01");
    let (one, two) = (path(&today_of(&service, "1").await), path(&today_of(&service, "2").await));
    assert_eq!(get(&service, &one).await["total_transferred"], 0);
    // Of TRUNCATE no time is noted.
    sql.run(
        "BEGIN; TRUNCATE public.delivery; INSERT INTO public.delivery VALUES (1, 1, 5, \
         '2020-01-01', 0); COMMIT",
    )
    .await;
    wait_until("it is named", async || {
        said(&service).await.is_some_and(|words| words.contains("all days: the times of its rows"))
    })
    .await;
    wait_until("its days are not known", async || read(&service, &one, "").await.status() == 503)
        .await;
    assert_eq!(get(&service, &two).await["total_transferred"], 0);
    goes_on(&service, &mut sql, "2", 21).await;
    sql.run("UPDATE public.delivery SET share = 1").await;
    wait_until("its days are known", async || {
        let answer = read(&service, &one, "").await;
        answer.status() == 200
            && answer.json::<Value>().await.expect("JSON")["total_transferred"] == 5
    })
    .await;
    wait_until("nothing is named any more", async || said(&service).await.is_none()).await;
}

/// A date beyond every timestamp lies on no day that an answer can name.
#[tokio::test]
async fn a_date_beyond_every_timestamp_stops_nobody() {
    let (service, mut sql, _) = beside(MAPPING, TABLES).await;
    sql.run(
        "INSERT INTO public.delivery VALUES (1, 1, 5, '300000-01-01'), (2, 1, 7, current_date)",
    )
    .await;
    has(&service, "1", "total_transferred", 7).await;
    goes_on(&service, &mut sql, "1", 11).await;
    assert_eq!(said(&service).await, None);
    for command in [&["rebuild", "--all"][..], &["audit"], &["adopt", "check"]] {
        let exited = run(service.launch(), command).await;
        assert_eq!(exited.code, Some(0), "{command:?}: {}", exited.output);
    }
}
