//! Lists, pages and totals of somebody who may see some facilities only.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{asked, get_as, key_of, signed_in, site};
use crate::{
    on_both_stores,
    steps::{date_in, facility, inventory, post},
    support::wait_until,
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
        assert!(again.headers().get_all("vary").iter().any(|vary| vary == "Cookie, Authorization"));
    }

    async fn no_cache_on_the_way_may_give_an_answer_to_another_reader(launch: Launch) {
        let service = signed_in(launch).await;
        let own = site(&service, "Own").await;
        let viewer = key_of(&service, "viewer", &[own.facility]).await;
        let of_one = format!("/v1/facilities/{}/summaries", own.facility);
        let today = format!("{of_one}/today");
        for path in ["/v1/summaries/today", "/v1/facilities", &of_one, &today] {
            let answer = asked(&service, Some(&viewer), Method::GET, path).await;
            let all = |name: &str| {
                let values = answer.headers().get_all(name).iter();
                values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ")
            };
            assert!(all("cache-control").starts_with("private"), "{path}: {:?}", answer.headers());
            assert!(all("vary").contains("Authorization"), "{path}: {:?}", answer.headers());
        }
    }

    async fn a_day_that_has_begun_only_where_one_may_not_see_has_not_begun(launch: Launch) {
        let service = signed_in(launch).await;
        // 26 hours apart, so that there is always a day that has begun in the east only.
        let east = facility(&service, "East", "Pacific/Kiritimati").await;
        let west = facility(&service, "West", "Etc/GMT+12").await;
        let date = date_in("Pacific/Kiritimati", 0);
        assert!(date_in("Etc/GMT+12", 0) < date);
        let wide = key_of(&service, "viewer", &[]).await;
        let in_the_west = key_of(&service, "viewer", &[west]).await;
        let in_the_east = key_of(&service, "viewer", &[east]).await;
        let nowhere = key_of(&service, "viewer", &[Uuid::new_v4()]).await;
        let path = format!("/v1/summaries/{date}");
        // The view of that day is there, and has a facility: another one.
        let (status, page) = get_as(&service, &wide, &path).await;
        assert_eq!((status, ids(&page)), (200, vec![east]));
        assert_eq!(get_as(&service, &in_the_east, &path).await.0, 200);
        for _ in 0..2 {
            let (status, problem) = get_as(&service, &in_the_west, &path).await;
            assert_eq!(status, 404, "{problem}");
            let of_one = format!("/v1/facilities/{west}/summaries/{date}");
            let (status, _) = get_as(&service, &in_the_west, &of_one).await;
            assert_eq!(status, 404, "the same as of its facility alone");
            let words = problem["detail"].as_str().unwrap();
            let today = date_in("Etc/GMT+12", 0).to_string();
            assert!(words.contains(&today) && !words.contains("Kiritimati"), "{words}");
        }
        let before = format!("/v1/summaries/{}", date_in("Etc/GMT+12", -1));
        assert_eq!(ids(&get_as(&service, &in_the_west, &before).await.1), vec![west]);
        let (status, page) = get_as(&service, &nowhere, &before).await;
        assert_eq!((status, ids(&page)), (200, vec![]), "none of its facilities is registered");
        assert_eq!(get_as(&service, &nowhere, "/v1/summaries/9999-12-31").await.0, 404);
    }

    async fn a_page_does_not_tell_when_figures_of_others_change(launch: Launch) {
        let service = signed_in(launch).await;
        let mut sites = Vec::new();
        for name in ["A", "B", "C", "D"] {
            sites.push(site(&service, name).await);
        }
        let own: Vec<Uuid> = sites[..3].iter().map(|site| site.facility).collect();
        let viewer = key_of(&service, "viewer", &own).await;
        let wide = key_of(&service, "viewer", &[]).await;
        let lot = |place: usize, units: i64| {
            let lot = Uuid::from_u128(place as u128 + 1);
            inventory(lot, sites[place].bank, "O+", units)
        };
        let stock = [lot(0, 30), lot(1, 20), lot(2, 10), lot(3, 100)];
        post(&service, &stock).await;
        let path = "/v1/summaries/today?limit=1&sort=-total_stock";
        let answer = async |key: &str, path: &str| {
            let answer = asked(&service, Some(key), Method::GET, path).await;
            let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
            (tag, answer.json::<Value>().await.unwrap())
        };
        let (before, of_all) = (answer(&viewer, path).await, answer(&wide, path).await);
        post(&service, &[lot(3, 101)]).await;
        wait_until("the page of all shows it", async || {
            answer(&wide, path).await.1["day_version"] != of_all.1["day_version"]
        })
        .await;
        assert_eq!(answer(&viewer, path).await, before, "also its version, its cursor, its tag");
        // A change of its own changes it, and a reader on the next page stays in its order,
        // whatever the others do.
        let cursor = before.1["next_cursor"].as_str().unwrap().to_owned();
        post(&service, &[lot(1, 5)]).await;
        wait_until("the page shows it", async || {
            answer(&viewer, path).await.1["day_version"] != before.1["day_version"]
        })
        .await;
        for units in [3, 300] {
            post(&service, &[lot(3, units)]).await;
            let (mut seen, mut next) = (ids(&before.1), Some(cursor.clone()));
            while let Some(cursor) = next {
                let page = answer(&viewer, &format!("{path}&cursor={cursor}")).await.1;
                assert_eq!(page["day_version"], before.1["day_version"]);
                seen.extend(ids(&page));
                next = page["next_cursor"].as_str().map(str::to_owned);
            }
            assert_eq!(seen, own, "in the order of the first page");
        }
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
    let expected = json!({
        "id": id, "name": "a viewer", "role": "viewer", "facilities": [own.facility],
        "session": null,
    });
    assert_eq!(me, expected);
}
