//! `import` as a user sees it: the real binary, small files with the faults of real ones, and the
//! answers over HTTP.

mod dry_run;
mod faults;
mod property;
mod real_files;
mod sources;
mod stock;
mod tables;
mod undo;

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    on_both_stores,
    support::{
        Service,
        plain_sql::{number, texts},
        service::{Exited, Launch},
        wait_until,
    },
};

const STOCK: &[&str] = &[
    "--columns=facility=city,date=date,blood_type=blood_type,quantity=qValue",
    "--date-format=%d-%m-%Y",
    "--set=timezone=Europe/Warsaw",
];
const DEMAND: &[&str] = &[
    "--columns=created_at=YEAR+MONTH,quantity=QTY_DEMANDED",
    "--set=facility=Tema",
    "--date-format=%Y %B",
];
const SUPPLY: &[&str] = &[
    "--columns=date_delivered=YEAR+MONTH,quantity=QTY_SUPPLIED",
    "--set=facility=Tema",
    "--date-format=%Y %B",
];
const SKIP: &[&str] = &["--on-error=skip"];

/// Imports a file.
async fn import(launch: &Launch, kind: &str, file: &str, options: &[&[&str]]) -> Exited {
    launch.run(&[&["import", kind, file], &options.concat()[..]].concat()).await
}

/// Imports a file that must be accepted, and returns the output.
async fn imported(launch: &Launch, kind: &str, file: &str, options: &[&[&str]]) -> String {
    let exited = import(launch, kind, file, options).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    exited.output
}

/// Copies a fixture into the folder in which the commands run: a rejects file is written beside it.
fn fixture<'a>(launch: &Launch, name: &'a str) -> &'a str {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name);
    fs::write(launch.folder().join(name), fs::read(from).expect("the fixture is there"))
        .expect("the folder can be written");
    name
}

fn write(launch: &Launch, name: &str, content: &str) {
    fs::write(launch.folder().join(name), content).expect("the folder can be written");
}

async fn both_stores() -> [Launch; 2] {
    [Service::on_sqlite(), Service::on_postgres().await]
}

async fn json_of(service: &Service, path: &str) -> Value {
    let response = service.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.expect("it is JSON")
}

/// The facility with that name; `None` when the service does not know one.
async fn facility(service: &Service, name: &str) -> Option<Value> {
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let list = json_of(service, &format!("/v1/facilities?q={encoded}")).await;
    list["items"].as_array().expect("a list").iter().find(|item| item["name"] == name).cloned()
}

async fn facility_id(service: &Service, name: &str) -> String {
    let mut id = None;
    wait_until(&format!("the service knows {name}"), async || {
        id = facility(service, name)
            .await
            .map(|item| item["facility_id"].as_str().expect("an id").to_owned());
        id.is_some()
    })
    .await;
    id.expect("the wait ended with one")
}

async fn day(service: &Service, id: &str, date: &str) -> Value {
    json_of(service, &format!("/v1/facilities/{id}/summaries/{date}")).await
}

async fn wait_for_day(service: &Service, id: &str, date: &str, wanted: [Value; 3]) {
    let mut last = Value::Null;
    wait_until(&format!("{date} shows {wanted:?}"), async || {
        last = day(service, id, date).await;
        [&last["total_stock"], &last["total_transferred"], &last["total_requests"]]
            == wanted.each_ref()
    })
    .await;
}

async fn audited(launch: &Launch) {
    let audit = launch.run(&["audit"]).await;
    assert_eq!(audit.code, Some(0), "{}", audit.output);
}

on_both_stores! {
    async fn a_service_beside_the_import_shows_what_it_brought(service: Service) {
        let launch = service.launch();
        let options: &[&str] = &["--columns=name=name", "--set=timezone=Asia/Kolkata"];
        imported(launch, "facilities", fixture(launch, "facilities.csv"), &[options]).await;
        facility_id(&service, "Blood Bank Chitrakoot").await;

        imported(launch, "stock-history", fixture(launch, "stock.csv"), &[STOCK]).await;
        let id = facility_id(&service, "Białystok").await;
        wait_for_day(&service, &id, "2022-08-27", [json!(140), json!(0), json!(0)]).await;
        assert_eq!(day(&service, &id, "2022-08-27").await["by_blood_type"]["AB-"]["stock"], 90);

        imported(launch, "requests", fixture(launch, "demand.csv"), &[DEMAND, SKIP]).await;
        let tema = facility_id(&service, "Tema").await;
        wait_for_day(&service, &tema, "2013-01-01", [Value::Null, json!(0), json!(2)]).await;
        // The day is in memory by now, and its figures must change all the same.
        imported(launch, "distributions", "demand.csv", &[SUPPLY, SKIP]).await;
        wait_for_day(&service, &tema, "2013-01-01", [Value::Null, json!(272), json!(2)]).await;
        audited(launch).await;
    }

    async fn a_service_beside_the_import_learns_of_a_zone_that_it_corrects(service: Service) {
        let launch = service.launch();
        write(launch, "one.csv", "name,zone\nTema,UTC\n");
        write(launch, "other.csv", "name,zone\nTema,Asia/Tokyo\n");
        for (file, zone) in [("one.csv", "UTC"), ("other.csv", "Asia/Tokyo")] {
            imported(launch, "facilities", file, &[&["--columns=name=name,timezone=zone"]]).await;
            wait_until(&format!("Tema is in {zone}"), async || {
                facility(&service, "Tema").await.is_some_and(|f| f["timezone"] == zone)
            })
            .await;
        }
        audited(launch).await;
    }
}

#[tokio::test]
async fn a_service_started_after_the_import_shows_it() {
    for launch in both_stores().await {
        imported(&launch, "requests", fixture(&launch, "demand.csv"), &[DEMAND, SKIP]).await;
        imported(&launch, "stock-history", fixture(&launch, "stock.csv"), &[STOCK]).await;
        let service = launch.start().await;
        let tema = facility_id(&service, "Tema").await;
        assert_eq!(day(&service, &tema, "2013-02-01").await["total_requests"], 1);
        let id = facility_id(&service, "Białystok").await;
        assert_eq!(day(&service, &id, "2022-08-27").await["total_stock"], 140);
    }
}

const VERSIONS: &str = "SELECT id(facility_id) || CAST(date AS text) || ' ' || CAST(version AS \
                        text) FROM dashboard_daily_summary ORDER BY 1";
const REQUESTS: &str = "SELECT id(id) || id(facility_id) || CAST(created_at AS text) || \
                        CAST(quantity AS text) FROM blood_requests ORDER BY 1";
const FIGURES: &str = "SELECT id(facility_id) || CAST(date AS text) || ' ' || CAST(total_requests \
                       AS text) FROM dashboard_daily_summary ORDER BY 1";

#[tokio::test]
async fn importing_a_file_twice_changes_nothing_and_says_so() {
    for launch in both_stores().await {
        let url = launch.database_url();
        let mut before = Vec::new();
        for time in ["first", "second"] {
            let outputs = [
                imported(&launch, "requests", fixture(&launch, "demand.csv"), &[DEMAND, SKIP])
                    .await,
                imported(&launch, "distributions", "demand.csv", &[SUPPLY, SKIP]).await,
                imported(&launch, "stock-history", fixture(&launch, "stock.csv"), &[STOCK]).await,
            ];
            let versions = texts(url, VERSIONS).await;
            if time == "second" {
                assert_eq!(versions, before);
                assert!(
                    outputs.iter().all(|output| output.contains("nothing changed")),
                    "{outputs:?}"
                );
            }
            before = versions;
        }
        assert_eq!(number(url, "SELECT count(*) FROM blood_requests").await, 4);
    }
}

/// Rows of twelve facilities in March 2024.
fn many_rows(count: usize) -> String {
    let rows =
        (0..count).map(|n| format!("2024-03-{:02}T10:00:00Z,Centre {},{n}\n", 1 + n % 20, n % 12));
    "at,to,n\n".chars().chain(rows.collect::<String>().chars()).collect()
}

const MANY: &[&str] = &["--columns=created_at=at,facility=to,quantity=n"];

#[tokio::test]
async fn an_import_killed_half_way_leaves_whole_chunks_and_a_rerun_completes_it() {
    const ROWS: usize = 15_000;
    for (launch, clean) in both_stores().await.into_iter().zip(both_stores().await) {
        for launch in [&launch, &clean] {
            write(launch, "many.csv", &many_rows(ROWS));
            launch.run(&["migrate"]).await;
        }
        let url = launch.database_url();
        let running = launch.start_command(&["import", "requests", "many.csv", MANY[0]]);
        wait_until("some chunks are in", async || {
            number(url, "SELECT count(*) FROM blood_requests").await >= 2_000
        })
        .await;
        running.signal(libc::SIGKILL);
        assert_eq!(running.wait().await.code, None);
        // The database may finish a commit after its client was killed. It is a whole chunk in any
        // case.
        let mut there = number(url, "SELECT count(*) FROM blood_requests").await;
        wait_until("nothing follows", async || {
            let before = there;
            there = number(url, "SELECT count(*) FROM blood_requests").await;
            there == before
        })
        .await;
        assert!(there % 1_000 == 0 && (there as usize) < ROWS, "{there} rows");
        let summarised =
            number(url, "SELECT coalesce(sum(total_requests), 0) FROM dashboard_daily_summary")
                .await;
        assert_eq!(summarised, there, "each chunk was committed with its summaries");

        let output = imported(&launch, "requests", "many.csv", &[MANY]).await;
        assert!(output.contains("changed nothing: known already"), "{output}");
        imported(&clean, "requests", "many.csv", &[MANY]).await;
        assert_eq!(texts(url, REQUESTS).await, texts(clean.database_url(), REQUESTS).await);
        assert_eq!(texts(url, FIGURES).await, texts(clean.database_url(), FIGURES).await);
        audited(&launch).await;
    }
}

#[tokio::test]
async fn names_that_look_alike_are_one_facility_and_merges_are_reported() {
    for launch in both_stores().await {
        write(&launch, "banks.csv", "name\nH\u{f4}pital\nHo\u{302}pital\nTema\nTema\n");
        let output =
            imported(&launch, "facilities", "banks.csv", &[&["--columns=name=name"]]).await;
        assert!(
            output
                .contains("4 rows, 2 facilities: 2 rows name a facility that an earlier row names"),
            "{output}"
        );
        assert!(
            output.contains("\"H\u{f4}pital\" (line 2), \"Ho<U+0302>pital\" (line 3)"),
            "{output}"
        );
        write(&launch, "requests.csv", "to,at\nHo\u{302}pi\u{ad}tal,2024-03-01\n");
        let output = imported(
            &launch,
            "requests",
            "requests.csv",
            &[&["--columns=facility=to,created_at=at"]],
        )
        .await;
        assert!(output.contains("0 facilities registered"), "{output}");
        assert_eq!(number(launch.database_url(), "SELECT count(*) FROM facilities").await, 2);
        audited(&launch).await;
        let service = launch.start().await;
        let id = facility_id(&service, "H\u{f4}pital").await;
        assert_eq!(day(&service, &id, "2024-03-01").await["total_requests"], 1);
    }
}
