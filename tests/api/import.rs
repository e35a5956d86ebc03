//! `import` as its user meets it: the real binary, small files with the faults of real ones, the
//! answers over HTTP.

mod dry_run;
mod property;
mod sources;
mod stock;
mod tables;
mod undo;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

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

async fn import(launch: &Launch, kind: &str, file: &str, options: &[&[&str]]) -> Exited {
    launch.run(&[&["import", kind, file], &options.concat()[..]].concat()).await
}

/// The same, where it is to succeed.
async fn imported(launch: &Launch, kind: &str, file: &str, options: &[&[&str]]) -> String {
    let exited = import(launch, kind, file, options).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    exited.output
}

/// Copies a fixture into the folder in which the commands run, since a rejects file is written
/// beside it.
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

/// The facility with that name, if the service knows one.
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
        imported(launch, "facilities", fixture(launch, "facilities.csv"), &[&["--columns=name=name", "--set=timezone=Asia/Kolkata"]]).await;
        facility_id(&service, "Blood Bank Chitrakoot").await;

        imported(launch, "stock-history", fixture(launch, "stock.csv"), &[STOCK]).await;
        let id = facility_id(&service, "Białystok").await;
        wait_for_day(&service, &id, "2022-08-27", [json!(140), json!(0), json!(0)]).await;
        assert_eq!(day(&service, &id, "2022-08-27").await["by_blood_type"]["AB-"]["stock"], 90);

        imported(launch, "requests", fixture(launch, "demand.csv"), &[DEMAND, SKIP]).await;
        let tema = facility_id(&service, "Tema").await;
        wait_for_day(&service, &tema, "2013-01-01", [Value::Null, json!(0), json!(2)]).await;
        // The day is in memory by now: the figures must move all the same.
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
            wait_until(&format!("Tema is in {zone}"), async || facility(&service, "Tema").await.is_some_and(|f| f["timezone"] == zone)).await;
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

/// Rows of a dozen facilities in March 2024.
fn many_rows(count: usize) -> String {
    let rows =
        (0..count).map(|n| format!("2024-03-{:02}T10:00:00Z,Centre {},{n}\n", 1 + n % 20, n % 12));
    "at,to,n\n".chars().chain(rows.collect::<String>().chars()).collect()
}

const MANY: &[&str] = &["--columns=created_at=at,facility=to,quantity=n"];

#[tokio::test]
async fn an_import_killed_half_way_leaves_whole_chunks_and_a_rerun_goes_on_to_what_one_run_makes() {
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
        // A commit that was under way on the server may follow its client's death; whole it is in
        // any case.
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
        assert_eq!(summarised, there, "each chunk came with its summaries");

        let output = imported(&launch, "requests", "many.csv", &[MANY]).await;
        assert!(output.contains("were known already"), "{output}");
        imported(&clean, "requests", "many.csv", &[MANY]).await;
        assert_eq!(texts(url, REQUESTS).await, texts(clean.database_url(), REQUESTS).await);
        assert_eq!(texts(url, FIGURES).await, texts(clean.database_url(), FIGURES).await);
        audited(&launch).await;
    }
}

#[tokio::test]
async fn a_fault_names_line_column_and_value_and_leaves_whole_chunks() {
    for launch in both_stores().await {
        write(&launch, "many.csv", &format!("{}2024-03-01,Centre 1,many\n", many_rows(1_500)));
        let exited = import(&launch, "requests", "many.csv", &[MANY]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        assert!(
            exited
                .output
                .contains("many.csv: line 1502, column \"n\": \"many\" is not a whole number"),
            "{}",
            exited.output
        );
        assert!(exited.output.contains("1000 rows before it are in"), "{}", exited.output);
        assert_eq!(
            number(launch.database_url(), "SELECT count(*) FROM blood_requests").await,
            1_000
        );

        let output = imported(&launch, "requests", "many.csv", &[MANY, SKIP]).await;
        assert!(
            output.contains("1 skipped") && output.contains("many.csv.rejects.csv"),
            "{output}"
        );
        let rejects = fs::read_to_string(launch.folder().join("many.csv.rejects.csv"))
            .expect("a rejects file");
        assert!(
            rejects
                .starts_with("at,to,n,reject_line,reject_reason\n2024-03-01,Centre 1,many,1502,"),
            "{rejects}"
        );
        assert_eq!(
            number(launch.database_url(), "SELECT count(*) FROM blood_requests").await,
            1_500
        );
    }
}

#[tokio::test]
async fn what_cannot_be_right_exits_with_2_and_what_fails_with_1() {
    let launch = Service::on_sqlite();
    fixture(&launch, "stock.csv");
    fixture(&launch, "unclosed_quote.csv");
    write(&launch, "semicolons.csv", "name;town\nTema;Accra\n");
    write(&launch, "book.xlsx", "PK\u{3}\u{4}\u{14}\0\u{6}\0[Content_Types].xml");
    for (words, code, says) in [
        (&["import", "stock-history", "stock.csv"][..], 2, "--columns"),
        (&["import", "stocks", "stock.csv", "--columns=name=city"], 2, "stock-history"),
        (
            &[
                "import",
                "stock-history",
                "stock.csv",
                "--columns=facility=town,date=date,quantity=qValue",
            ],
            2,
            "no column \"town\"",
        ),
        (
            &["import", "stock-history", "stock.csv", "--columns=facility=city,date=date"],
            2,
            "need the field quantity",
        ),
        (&["import", "facilities", "none.csv", "--columns=name=name"], 1, "none.csv"),
        (
            &["import", "facilities", "unclosed_quote.csv", "--columns=name=name"],
            1,
            "line 3: a double quote opens",
        ),
        (
            &["import", "facilities", "semicolons.csv", "--columns=name=name"],
            1,
            "semicolons.csv is parted by semicolons",
        ),
        (
            &["import", "facilities", "book.xlsx", "--columns=name=name"],
            1,
            "book.xlsx is an Excel workbook (xlsx)",
        ),
        (
            &[
                "import",
                "stock-history",
                "stock.csv",
                "--columns=facility=city,date=date,quantity=qValue",
                "--decimal=;",
            ],
            2,
            "--decimal",
        ),
    ] {
        let exited = launch.run(words).await;
        assert_eq!(exited.code, Some(code), "{words:?}: {}", exited.output);
        assert!(exited.output.contains(says), "{words:?}: {}", exited.output);
    }
}

#[tokio::test]
async fn names_are_one_as_the_eye_reads_them_and_what_was_merged_is_said() {
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

#[tokio::test]
async fn a_mistyped_id_and_an_ambiguous_number_write_nothing() {
    let columns: &[&str] = &["--columns=facility=to,created_at=at,quantity=n"];
    for launch in both_stores().await {
        for (row, says) in [
            (
                "c3d4e5f6-a7b8-4901-cdef-34567890123,2024-03-01,1",
                "looks like a UUID and is none: it has 31 digits, 1 too few",
            ),
            ("00000000-0000-0000-0000-000000000000,2024-03-01,1", "is the nil UUID"),
            (
                "Tema,2024-03-01,1.000",
                "\"1.000\" is 1000 or 1, and the file does not say which; --decimal , ",
            ),
            ("Tema,05/01/2024,1", "--date-format \"%d/%m/%Y\" reads it as 2024-01-05"),
        ] {
            write(&launch, "requests.csv", &format!("to,at,n\n{row}\n"));
            let exited = import(&launch, "requests", "requests.csv", &[columns]).await;
            assert_eq!(exited.code, Some(1), "{}", exited.output);
            assert!(
                exited.output.contains("line 2, column ") && exited.output.contains(says),
                "{row}: {}",
                exited.output
            );
        }
        let url = launch.database_url();
        assert_eq!(
            number(
                url,
                "SELECT (SELECT count(*) FROM facilities) + (SELECT count(*) FROM blood_requests)"
            )
            .await,
            0
        );
        write(
            &launch,
            "requests.csv",
            "to,at,n\nTema,2024-03-01,1.000\nTema,2024-03-02,\"12,0\"\n",
        );
        imported(&launch, "requests", "requests.csv", &[columns, &["--decimal=,"]]).await;
        assert_eq!(number(url, "SELECT sum(quantity) FROM blood_requests").await, 1012);
    }
}

#[tokio::test]
async fn a_constant_that_cannot_be_right_is_wrong_use() {
    for launch in both_stores().await {
        write(&launch, "requests.csv", "to,at,n\nTema,x,y\n");
        for (constant, says) in [
            ("quantity=abc", "--set quantity=abc: the value is not a whole number"),
            (
                "facility=c3d4e5f6-a7b8-4901-cdef-345678901234",
                "the value is the id of no registered facility",
            ),
        ] {
            let field = constant.split('=').next().expect("a field");
            let columns: Vec<&str> = ["created_at=at", "facility=to"]
                .into_iter()
                .filter(|pair| !pair.starts_with(field))
                .collect();
            let options = [format!("--columns={}", columns.join(",")), format!("--set={constant}")];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let exited = import(&launch, "requests", "requests.csv", &[&options]).await;
            assert_eq!(exited.code, Some(2), "{}", exited.output);
            assert!(
                exited.output.contains(says) && !exited.output.contains("line 2"),
                "{}",
                exited.output
            );
        }
    }
}

/// One of the real files, which are not part of the repository, copied to where the commands run;
/// false where it is not at hand.
fn real(launch: &Launch, name: &str) -> bool {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("FACILITY_SUMMARY_REAL_DATA").map_or_else(beside, PathBuf::from);
    fs::read(folder.join(name))
        .is_ok_and(|content| fs::write(launch.folder().join(name), content).is_ok())
}

#[tokio::test]
async fn the_real_blood_banks_of_india_are_listed() {
    for launch in both_stores().await {
        if !real(&launch, "blood_banks_india.csv") {
            return;
        }
        let options: &[&str] = &["--columns=name=name", "--set=timezone=Asia/Kolkata"];
        imported(&launch, "facilities", "blood_banks_india.csv", &[options]).await;
        audited(&launch).await;
        let service = launch.start().await;
        let mut found = 0;
        let mut path = "/v1/facilities?limit=500".to_owned();
        loop {
            let page = json_of(&service, &path).await;
            found += page["items"].as_array().expect("a list").len();
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/facilities?limit=500&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(found, 2_140);
        let id =
            facility_id(&service, "Sri Guru Harkrishan\u{a0}Sahib Charitable Eye Hospital-Sohana")
                .await;
        assert_eq!(day(&service, &id, "today").await["total_stock"], 0);
    }
}

#[tokio::test]
async fn the_real_stocks_of_poland_are_what_the_file_says() {
    for launch in both_stores().await {
        if !real(&launch, "blood_stock_poland.csv") {
            return;
        }
        imported(&launch, "stock-history", "blood_stock_poland.csv", &[STOCK]).await;
        audited(&launch).await;
        let wanted = polish_days(
            &fs::read_to_string(launch.folder().join("blood_stock_poland.csv"))
                .expect("it was just copied"),
        );
        assert_eq!(wanted.len(), 21);
        let service = launch.start().await;
        for (city, days) in wanted {
            let id = facility_id(&service, &city).await;
            let path =
                format!("/v1/facilities/{id}/summaries?from=2022-08-01&to=2023-06-30&limit=400");
            let answer = json_of(&service, &path).await;
            let stored = answer["items"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|summary| summary["version"] != 0);
            let found: BTreeMap<String, i64> = stored
                .map(|summary| {
                    (
                        summary["date"].as_str().expect("a date").to_owned(),
                        summary["total_stock"].as_i64().expect("a stock"),
                    )
                })
                .collect();
            assert_eq!(found, days, "{city}");
        }
    }
}

/// Units by city and day, added up without the importer.
fn polish_days(file: &str) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut cities = BTreeMap::<String, BTreeMap<String, i64>>::new();
    for line in file.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.trim().split(',').collect();
        let mut date: Vec<&str> = cells[4].split('-').collect();
        date.reverse();
        let units = cells[3].parse::<f64>().expect("a number") as i64;
        *cities
            .entry(cells[0].trim().to_owned())
            .or_default()
            .entry(date.join("-"))
            .or_default() += units;
    }
    cities
}

#[tokio::test]
async fn the_real_demand_and_supply_of_tema_are_what_the_file_says() {
    for launch in both_stores().await {
        if !real(&launch, "blood_demand_tema_ghana.csv") {
            return;
        }
        imported(
            &launch,
            "requests",
            "blood_demand_tema_ghana.csv",
            &[DEMAND, &["--set=timezone=Africa/Accra"]],
        )
        .await;
        let stopped =
            import(&launch, "distributions", "blood_demand_tema_ghana.csv", &[SUPPLY]).await;
        assert_eq!(stopped.code, Some(1));
        assert!(
            stopped.output.contains("line 12, column \"QTY_SUPPLIED\": \"\" is empty"),
            "{}",
            stopped.output
        );
        imported(&launch, "distributions", "blood_demand_tema_ghana.csv", &[SUPPLY, SKIP]).await;
        audited(&launch).await;
        let service = launch.start().await;
        let tema = facility_id(&service, "Tema").await;
        for (date, transferred) in [("2013-01-01", 136), ("2013-02-01", 202), ("2013-11-01", 0)] {
            let summary = day(&service, &tema, date).await;
            assert_eq!(
                (&summary["total_transferred"], &summary["total_requests"]),
                (&json!(transferred), &json!(1)),
                "{date}"
            );
        }
    }
}
