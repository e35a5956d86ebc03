//! Lists, pages and totals of somebody who may see some facilities only.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{asked, get_as, key_of, signed_in, site};
use crate::{
    on_both_stores,
    steps::{inventory, post},
};

fn ids(page: &Value) -> Vec<Uuid> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["facility_id"].as_str().unwrap().parse().unwrap()).collect()
}

on_both_stores! {
    async fn a_list_shows_only_what_its_reader_may_see(launch: Launch) {
        let service = signed_in(launch).await;
        let mut sites = Vec::new();
        for name in ["A", "B", "C", "D", "E"] {
            sites.push(site(&service, name).await);
        }
        let stock: Vec<Value> = (1..)
            .zip(&sites)
            .map(|(units, site)| inventory(Uuid::new_v4(), site.bank, "O+", 10_i64.pow(units)))
            .collect();
        post(&service, &stock).await;
        let own = [sites[1].facility, sites[3].facility];
        let (viewer, twin) =
            (key_of(&service, "viewer", &own).await, key_of(&service, "viewer", &own).await);
        let wide = key_of(&service, "viewer", &[]).await;
        // The page of all is asked for first, so that it is held: it must not be given to others.
        for path in ["/v1/summaries/today", "/v1/facilities"] {
            assert_eq!(ids(&get_as(&service, &wide, path).await.1).len(), 5, "{path}");
            for key in [&viewer, &twin] {
                let (status, page) = get_as(&service, key, path).await;
                assert_eq!((status, ids(&page)), (200, own.to_vec()), "{path}");
                assert_eq!(page["next_cursor"], Value::Null, "{path}");
            }
        }
        let (_, page) = get_as(&service, &viewer, "/v1/summaries/today").await;
        assert_eq!(page["totals"]["total_stock"], 10_100, "{page}");
        // Page by page: the cursor leads to the next one that may be seen.
        for path in ["/v1/summaries/today?limit=1&sort=-total_stock", "/v1/facilities?limit=1"] {
            let (_, first) = get_as(&service, &viewer, path).await;
            let cursor = first["next_cursor"].as_str().unwrap();
            let (_, second) = get_as(&service, &viewer, &format!("{path}&cursor={cursor}")).await;
            let mut both = [ids(&first), ids(&second)].concat();
            both.sort_unstable();
            let mut expected = own.to_vec();
            expected.sort_unstable();
            assert_eq!((both, &second["next_cursor"]), (expected, &Value::Null), "{path}");
        }
        // Filters narrow what may be seen, and never widen it.
        let named = |id: Uuid| format!("/v1/summaries/today?facility_id={id}");
        let (status, page) = get_as(&service, &viewer, &named(own[0])).await;
        assert_eq!((status, ids(&page)), (200, vec![own[0]]));
        for foreign in [sites[0].facility, Uuid::new_v4()] {
            assert_eq!(get_as(&service, &viewer, &named(foreign)).await.0, 403);
            let both = format!("{}&facility_id={foreign}", named(own[0]));
            assert_eq!(get_as(&service, &viewer, &both).await.0, 403);
        }
        let (_, page) = get_as(&service, &viewer, "/v1/facilities?q=A").await;
        assert_eq!(ids(&page), Vec::<Uuid>::new());
        let (_, page) = get_as(&service, &viewer, "/v1/summaries/today?above=stock:5000").await;
        assert_eq!(ids(&page), vec![own[1]]);
        // The tag of the page of all is not one of theirs.
        let all = asked(&service, Some(&wide), Method::GET, "/v1/summaries/today").await;
        let tag = all.headers()["etag"].to_str().unwrap().to_owned();
        let again = service
            .request_as(Some(&viewer), Method::GET, "/v1/summaries/today")
            .header("if-none-match", tag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 200);
        assert!(again.headers().get_all("vary").iter().any(|vary| vary == "Authorization"));
    }
}

on_both_stores! {
    async fn a_cursor_tells_nothing_of_a_facility_that_its_reader_may_not_see(launch: Launch) {
        let service = signed_in(launch).await;
        let mut sites = Vec::new();
        for name in ["A", "B", "C"] {
            sites.push(site(&service, name).await);
        }
        let (hidden, own) = (sites[1], [sites[0].facility, sites[2].facility]);
        let lot = Uuid::new_v4();
        let mut stock = vec![inventory(lot, hidden.bank, "O+", 500)];
        for (site, units) in [(sites[0], 100), (sites[2], 1_000)] {
            stock.push(inventory(Uuid::new_v4(), site.bank, "O+", units));
        }
        post(&service, &stock).await;
        let viewer = key_of(&service, "viewer", &own).await;
        let hidden_id = hidden.facility;
        // The answer to the viewer, without what it sent itself, and without the version that is
        // said to change with all figures.
        let told = async |path: &str, id: Uuid| {
            let (status, page) = get_as(&service, &viewer, path).await;
            let mut page = page;
            if let Some(page) = page.as_object_mut() {
                page.remove("day_version");
            }
            let id = [id.to_string(), id.simple().to_string()];
            (status, id.iter().fold(page.to_string(), |text, id| text.replace(id, "ID")))
        };
        for sort in ["name", "-name", "total_stock", "-total_stock", "total_requests"] {
            let list = format!("/v1/summaries/today?fields=totals&sort={sort}");
            // The id of a facility, as earlier releases wrote it.
            let at = |id: Uuid| format!("{list}&cursor={id}");
            let (unknown, other) = (Uuid::new_v4(), at(hidden_id));
            assert_eq!(get_as(&service, &viewer, &at(own[0])).await.0, 200, "{sort}");
            let refused = told(&at(unknown), unknown).await;
            assert_eq!(refused.0, 400, "{sort}");
            assert_eq!(told(&other, hidden_id).await, refused, "{sort}");
            let narrowed = format!("{other}&facility_id={}", own[0]);
            assert_eq!(told(&narrowed, hidden_id).await.0, 400, "{sort}");
            assert_eq!(asked(&service, None, Method::GET, &other).await.status(), 401);
            // The cursor of another reader, which has a name and a figure in it.
            let all: Value = service.get(&list).await.json().await.unwrap();
            let place = ids(&all).iter().position(|id| *id == hidden_id).unwrap();
            if place == 0 {
                continue;
            }
            let page: Value =
                service.get(&format!("{list}&limit={place}")).await.json().await.unwrap();
            let cursor = page["next_cursor"].as_str().unwrap().to_owned();
            let hex = hidden_id.simple().to_string();
            assert!(cursor.contains(&hex), "{cursor}");
            let of = |id: Uuid| {
                format!("{list}&cursor={}", cursor.replace(&hex, &id.simple().to_string()))
            };
            let before = told(&of(unknown), unknown).await;
            assert_eq!(told(&of(hidden_id), hidden_id).await, before, "{sort}");
            assert!(!before.1.contains("500"), "{sort}: {}", before.1);
            // Where the facility stands now makes no difference.
            for units in [5_000, 500] {
                post(&service, &[inventory(lot, hidden.bank, "O+", units)]).await;
                assert_eq!(told(&of(hidden_id), hidden_id).await, before, "{sort}: {units}");
            }
        }
    }

    async fn a_cursor_of_the_list_tells_nothing_of_a_facility_either(launch: Launch) {
        let service = signed_in(launch).await;
        let (own, hidden) = (site(&service, "A").await, site(&service, "B").await);
        site(&service, "C").await;
        let viewer = key_of(&service, "viewer", &[own.facility]).await;
        let first: Value = service.get("/v1/facilities?limit=1").await.json().await.unwrap();
        let cursor = first["next_cursor"].as_str().unwrap().to_owned();
        let hex = hidden.facility.simple().to_string();
        assert!(cursor.contains(&hex), "{cursor}");
        let forged = cursor.replace(&hex, &Uuid::new_v4().simple().to_string());
        for cursor in [cursor, forged] {
            let path = format!("/v1/facilities?cursor={cursor}");
            let told = get_as(&service, &viewer, &path).await;
            assert_eq!(told, (200, json!({"items": [], "next_cursor": null})), "{path}");
        }
    }
}

#[tokio::test]
async fn who_one_is_and_what_one_may_see_is_told() {
    let service = signed_in(crate::support::Service::on_sqlite()).await;
    let own = site(&service, "Own").await;
    let viewer = key_of(&service, "viewer", &[own.facility]).await;
    let id = format!("key:{}", viewer.split('_').nth(1).unwrap());
    let (status, me) = get_as(&service, &viewer, "/v1/auth/me").await;
    assert_eq!(status, 200);
    assert_eq!(
        me,
        json!({"id": id, "name": "a viewer", "role": "viewer", "facilities": [own.facility]})
    );
}
