//! The real files, if they are present.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    DEMAND, SKIP, STOCK, SUPPLY, audited, both_stores, day, facility_id, import, imported, json_of,
};
use crate::support::service::Launch;

/// Copies one of the real files into the folder in which the commands run; false when it is not on
/// this machine. The real files are not part of the repository.
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

/// Units by city and day, added up without the code of the import.
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
