//! The day of all facilities: filters, pages that stay right while figures change, and answers
//! from memory.

use std::collections::BTreeSet;

use reqwest::{
    Method,
    header::{ACCEPT_ENCODING, ETAG, IF_NONE_MATCH},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{age, bank, date_in, facility, get, header, inventory, noon_zone, post, read, request},
    support::{Service, problem::problem, site::metric, wait_until},
};

/// Facilities with such a stock of O- and of A+, and no unit at all where it is 0.
async fn stocked(service: &Service, stocks: &[(&str, i64, i64)]) -> Vec<(Uuid, Uuid)> {
    let mut sites = Vec::new();
    for (name, o_negative, a_positive) in stocks {
        let id = facility(service, name, &noon_zone()).await;
        let bank = bank(service, id).await;
        for (blood_type, quantity) in [("O-", *o_negative), ("A+", *a_positive)] {
            if quantity > 0 {
                post(service, &[inventory(Uuid::new_v4(), bank, blood_type, quantity)]).await;
            }
        }
        sites.push((id, bank));
    }
    sites
}

/// The page as a reader gets it who takes no figures of before.
async fn page(service: &Service, query: &str) -> Value {
    let response = read(service, &format!("/v1/summaries/today?{query}"), "no-cache").await;
    let status = response.status().as_u16();
    let page = response.json().await.unwrap();
    assert_eq!(status, 200, "{query}: {page}");
    page
}

fn ids(page: &Value) -> Vec<Uuid> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["facility_id"].as_str().unwrap().parse().unwrap()).collect()
}

on_both_stores! {
    async fn filters_leave_the_facilities_that_they_name_and_the_totals_of_those(
        service: Service,
    ) {
        let stocks = [("Ho\u{302}pital Nord", 5, 30), ("Hôpital Sud", 0, 3), ("Tema", 12, 0)];
        let sites = stocked(&service, &stocks).await;
        let (nord, sud, tema) = (sites[0].0, sites[1].0, sites[2].0);
        for (query, expected, stock) in [
            ("", &[nord, sud, tema][..], 50),
            ("q=H%C3%94PITAL", &[nord, sud], 38),
            ("q=nord", &[nord], 35),
            ("below=stock:20", &[sud, tema], 15),
            ("below=stock:6&blood_type=O-", &[nord, sud], 38),
            ("above=stock:0&blood_type=A%2B", &[nord, sud], 38),
            ("above=stock:3&below=stock:35", &[tema], 12),
            ("above=requests:0", &[], 0),
            (format!("facility_id={tema}&facility_id={nord}").as_str(), &[nord, tema], 47),
            (format!("facility_id={}", Uuid::new_v4()).as_str(), &[], 0),
            ("sort=-total_stock&q=p", &[nord, sud], 38),
        ] {
            let shown = page(&service, query).await;
            assert_eq!(ids(&shown), expected, "{query}");
            assert_eq!(shown["totals"]["total_stock"], stock, "{query}");
            assert_eq!(shown["totals"]["facilities"], expected.len(), "{query}");
        }
        let of_type = page(&service, "blood_type=O-").await;
        let figures = json!({"stock": 5, "transferred": 0, "requests": 0});
        assert_eq!(of_type["items"][0]["by_blood_type"], json!({"O-": figures}));
        assert_eq!(of_type["items"][1]["by_blood_type"], json!({}), "it has none");
        assert_eq!(of_type["items"][0]["total_stock"], 35, "the totals stay those of the whole");
        assert_eq!(of_type["totals"]["by_blood_type"]["O-"]["stock"], 17);
        let (whole, totals) = (page(&service, "").await, page(&service, "fields=totals").await);
        let mut expected = whole["items"].clone();
        for item in expected.as_array_mut().unwrap() {
            item.as_object_mut().unwrap().remove("by_blood_type");
        }
        assert_eq!(totals["items"], expected);
        for (query, name) in [
            ("below=20", "below"),
            ("above=size:1", "above"),
            ("blood_type=C", "blood_type"),
            ("facility_id=7", "facility_id"),
            ("fields=some", "fields"),
            ("q=a&q=b", "q"),
            ("colour=red", "colour"),
            ("cursor=7", "cursor"),
        ] {
            let refused = problem(
                service.get(&format!("/v1/summaries/today?{query}")).await,
                400,
            )
            .await;
            assert!(refused["detail"].as_str().unwrap().contains(name), "{query}: {refused}");
        }
    }

    async fn pages_have_each_facility_once_while_figures_change_between_them(service: Service) {
        let stocks = [("A", 10, 0), ("B", 20, 0), ("C", 30, 0), ("D", 40, 0), ("E", 0, 0)];
        let sites = stocked(&service, &stocks).await;
        let all: BTreeSet<Uuid> = sites.iter().map(|(id, _)| *id).collect();
        for sort in ["total_stock", "-total_stock", "name", "-name"] {
            let (mut seen, mut versions, mut cursor) = (Vec::new(), BTreeSet::new(), String::new());
            loop {
                let shown = page(&service, &format!("sort={sort}&limit=1{cursor}")).await;
                seen.extend(ids(&shown));
                versions.insert(shown["day_version"].as_str().unwrap().to_owned());
                let Some(next) = shown["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
                // What was first becomes last, and the other way round.
                let (_, bank) = sites[seen.len() % sites.len()];
                let much = 100 * i64::try_from(seen.len()).unwrap();
                post(&service, &[inventory(Uuid::new_v4(), bank, "O-", much)]).await;
            }
            assert_eq!(seen.len(), all.len(), "{sort}: {seen:?}");
            assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), all, "{sort}");
            assert_eq!(versions.len(), 1, "{sort}");
        }
    }

    async fn pages_have_each_facility_once_while_facilities_are_renamed_between_them(
        service: Service,
    ) {
        let stocks = [("B", 5, 0), ("C", 5, 0), ("D", 5, 0), ("E", 5, 0), ("F", 5, 0)];
        let sites = stocked(&service, &stocks).await;
        let all: BTreeSet<Uuid> = sites.iter().map(|(id, _)| *id).collect();
        for (round, sort) in ["name", "-name", "total_stock", "-total_requests"].iter().enumerate()
        {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let shown = page(&service, &format!("sort={sort}&limit=2{cursor}")).await;
                seen.extend(ids(&shown));
                let Some(next) = shown["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
                // One that was shown comes last, and one that was not comes first.
                let not_shown = all.iter().find(|id| !seen.contains(id)).unwrap();
                for (id, name) in [(&seen[0], "Z"), (not_shown, "A")] {
                    let name = format!("{name}{round}{}", seen.len());
                    let facility = json!({"name": name, "timezone": noon_zone()});
                    service.put(&format!("/v1/facilities/{id}"), &facility).await;
                }
            }
            assert_eq!(seen.len(), all.len(), "{sort}: {seen:?}");
            assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), all, "{sort}");
        }
    }

    async fn a_page_is_served_from_memory_until_something_in_it_changes(service: Service) {
        let sites = stocked(&service, &[("North", 5, 0), ("South", 7, 0)]).await;
        let path = "/v1/summaries/today?limit=2";
        read(&service, path, "").await;
        let renders = metric(&service, "summary_view_renders_total").await;
        let first = read(&service, path, "").await;
        assert_eq!(header(&first, "cache-status"), "facility-summary; hit; detail=memory");
        assert!(age(&first) < 5, "{first:?}");
        for _ in 0..20 {
            let again = read(&service, path, "").await;
            assert_eq!(header(&again, "etag"), header(&first, "etag"));
        }
        let fills = metric(&service, "summary_view_fills_total").await;
        assert_eq!(metric(&service, "summary_views").await, 1.0);
        assert!(metric(&service, "summary_view_bytes").await > 0.0);
        assert_eq!(metric(&service, "summary_view_renders_total").await, renders);
        let unchanged = service
 .request(Method::GET, path)
            .header(IF_NONE_MATCH, first.headers()[ETAG].clone())
            .send()
            .await
            .unwrap();
        assert_eq!(unchanged.status(), 304);
        post(&service, &[request(Uuid::new_v4(), sites[0].0, crate::steps::now_ms())]).await;
        wait_until("the page shows the change", async || {
            get(&service, path).await["totals"]["total_requests"] == 1
        })
        .await;
        assert_eq!(page(&service, "limit=2").await["items"][0]["total_requests"], 1);
        assert_eq!(metric(&service, "summary_view_fills_total").await, fills, "nothing was read");
    }

    async fn a_facility_comes_moves_is_renamed_and_is_in_its_place(service: Service) {
        let sites = stocked(&service, &[("Beta", 5, 0), ("Delta", 7, 0)]).await;
        let names = async || {
            let shown = page(&service, "").await;
            ids(&shown)
        };
        assert_eq!(names().await, [sites[0].0, sites[1].0]);
        let new = facility(&service, "Gamma", &noon_zone()).await;
        assert_eq!(names().await, [sites[0].0, sites[1].0, new]);
        let renamed = format!("/v1/facilities/{}", sites[0].0);
        let zone = noon_zone();
        service.put(&renamed, &json!({"name": "Zeta", "timezone": zone})).await;
        assert_eq!(names().await, [sites[1].0, new, sites[0].0]);
        service.put(&renamed, &json!({"name": "Zeta", "timezone": "Pacific/Kiritimati"})).await;
        let shown = page(&service, "").await;
        let today = date_in("Pacific/Kiritimati", 0).to_string();
        assert_eq!(shown["items"][2]["date"], json!(today), "{shown}");
        assert_eq!(shown["items"][2]["total_stock"], 5);
        let past = format!("/v1/summaries/{}", date_in(&zone, -9));
        for _ in 0..2 {
            let shown = get(&service, &past).await;
            assert_eq!(shown["totals"]["facilities"], 3, "{shown}");
            assert_eq!(shown["items"][0]["version"], 0, "a day without a row");
        }
        problem(service.get("/v1/summaries/2999-01-01").await, 404).await;
    }

    async fn each_coding_of_a_page_has_its_own_tag_and_any_of_them_matches(service: Service) {
        let names: Vec<String> = (0..20).map(|n| format!("Clinic {n}")).collect();
        for name in &names {
            facility(&service, name, &noon_zone()).await;
        }
        let path = "/v1/summaries/today";
        let mut tags = Vec::new();
        for (accepted, coding) in [("identity", ""), ("gzip", "gzip"), ("br", "br")] {
            let response = service
 .request(Method::GET, path)
                .header(ACCEPT_ENCODING, accepted)
                .send()
                .await
                .unwrap();
            assert_eq!(header(&response, "content-encoding"), coding);
            assert!(header(&response, "vary").to_lowercase().contains("accept-encoding"));
            tags.push(header(&response, "etag"));
        }
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), 3, "{tags:?}");
        for tag in tags {
            let response = service
 .request(Method::GET, path)
                .header(IF_NONE_MATCH, &tag)
                .send()
                .await
                .unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "etag")), (304, tag));
        }
    }

    async fn a_day_that_nothing_is_held_of_is_a_miss_and_then_a_hit(service: Service) {
        stocked(&service, &[("North", 5, 0)]).await;
        let path = format!("/v1/summaries/{}", date_in(&noon_zone(), -3));
        wait_until("the facility is dealt with", async || {
            metric(&service, "summary_marks_visible").await == 0.0
        })
        .await;
        for (directives, expected) in [
            ("", "fwd=miss; detail=table"),
            ("", "hit; detail=memory"),
            ("no-cache", "fwd=request"),
        ] {
            let response = read(&service, &path, directives).await;
            let shown = header(&response, "cache-status");
            assert!(
                shown.starts_with(&format!("facility-summary; {expected}")),
                "{directives:?}: {shown}"
            );
        }
    }

    async fn a_date_that_has_begun_nowhere_is_404_with_and_without_facilities(service: Service) {
        // The same words for the whole table, and then for one facility.
        let of_all = |date: &str| format!("/v1/summaries/{date}");
        let far = ["9999-12-31".to_owned(), date_in("UTC", 3).to_string()];
        let past = date_in("UTC", -1).to_string();
        for directives in ["", "no-cache", "max-stale", "only-if-cached"] {
            for date in &far {
                let refused = problem(read(&service, &of_all(date), directives).await, 404).await;
                assert!(refused["detail"].as_str().unwrap().contains("has not begun"));
            }
            let none = read(&service, &of_all(&past), directives).await;
            assert_eq!(none.status(), 200, "{directives}");
            assert_eq!(none.json::<Value>().await.unwrap()["items"], json!([]));
        }
        let id = facility(&service, "North", "UTC").await;
        for date in &far {
            for path in [of_all(date), format!("/v1/facilities/{id}/summaries/{date}")] {
                let refused = problem(service.get(&path).await, 404).await;
                assert!(refused["detail"].as_str().unwrap().contains("has not begun"), "{path}");
            }
        }
    }
}
