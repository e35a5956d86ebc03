//! Tests of `query.rs`.

use serde::Deserialize;
use uuid::Uuid;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Name,
    #[serde(rename = "-total_stock")]
    StockFirst,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
struct ParsedQuery {
    q: Option<String>,
    limit: Option<u32>,
    sort: Option<Sort>,
    #[serde(default)]
    metric: Vec<String>,
    #[serde(default, deserialize_with = "date")]
    from: Option<Date>,
    raw: Option<Uuid>,
}

fn read(query: &str) -> Result<ParsedQuery, Problem> {
    parse(query, &["q", "limit", "sort", "metric", "from", "raw"])
}

#[test]
fn parameters_are_decoded_and_typed() {
    let query = read(
        "q=%C5%81%C3%B3d%C5%BA+2&limit=500&&sort=-total_stock&metric=stock,requests&\
             from=2026-11-21",
    )
    .unwrap();
    let metric = vec!["stock".to_owned(), "requests".to_owned()];
    let from = Some(jiff::civil::date(2026, 11, 21));
    let want = ParsedQuery {
        q: Some("Łódź 2".into()),
        limit: Some(500),
        sort: Some(Sort::StockFirst),
        metric,
        from,
        ..ParsedQuery::default()
    };
    assert_eq!(query, want);
    assert_eq!(read("").unwrap(), ParsedQuery::default());
    assert_eq!(read("q").unwrap().q.as_deref(), Some(""));
}

#[test]
fn every_refusal_names_the_parameter_and_what_would_be_right() {
    for (query, words) in [
        ("limits=5", &["\"limits\" is unknown", "q, limit, sort"][..]),
        ("limit=5&limit=5", &["`limit` was sent twice"]),
        ("limit=abc", &["`limit` is \"abc\"", "from 0 to 4294967295"]),
        ("limit=-1", &["`limit` is \"-1\""]),
        ("limit=99999999999", &["`limit` is \"99999999999\""]),
        ("limit=", &["`limit` is \"\""]),
        ("sort=size", &["`sort` is \"size\"", "one of name, -total_stock"]),
        (
            "from=21.11.2026",
            &["`from` is \"21.11.2026\"; expected a calendar date such as 2026-11-21"],
        ),
        ("raw=7", &["`raw` is \"7\"", "UUID"]),
        ("q=%zz", &["`q` cannot be read", "hexadecimal"]),
        ("q=%ff", &["`q` cannot be read", "UTF-8"]),
        ("%=1", &["\"%\" cannot be read"]),
        ("=1", &["\"\" is unknown"]),
        ("limit%00=1", &["is unknown"]),
    ] {
        let problem = read(query).unwrap_err();
        assert_eq!(problem.status(), 400, "{query}");
        assert!(
            words.iter().all(|word| problem.detail().contains(word)),
            "{query}: {}",
            problem.detail()
        );
    }
}

#[test]
fn a_resource_without_parameters_takes_an_empty_query_only() {
    assert!(none("").is_ok() && none("&").is_ok());
    assert!(none("colour=red").unwrap_err().detail().contains("\"colour\" is unknown"));
}

#[test]
fn a_required_parameter_is_missed_by_name() {
    #[derive(Debug, Deserialize)]
    struct Required {
        #[expect(dead_code)]
        at: String,
    }
    assert_eq!(
        parse::<Required>("", &["at"]).unwrap_err().detail(),
        "The query parameter `at` is missing."
    );
}
