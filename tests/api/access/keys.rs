//! API keys: made, listed, used and ended, by the API and by the command.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{added, get_as, key, signed_in, site};
use crate::{
    on_both_stores,
    support::{Service, plain_sql, wait_until},
};

on_both_stores! {
    async fn a_key_is_shown_once_and_its_uses_are_listed(launch: Launch) {
        let service = signed_in(launch).await;
        let wish = json!({
            "name": "wall", "role": "viewer", "facilities": "all",
            "expires_at": "2199-01-01T00:00:00Z",
        });
        let wall = key(&service, wish).await;
        let id = wall.split('_').nth(1).unwrap().to_owned();
        let listed = async |id: &str| {
            let keys: Value = service.get("/v1/api-keys").await.json().await.unwrap();
            let found = keys["items"].as_array().unwrap().iter().find(|key| key["id"] == id);
            found.cloned().unwrap_or_else(|| panic!("{id} is listed: {keys}"))
        };
        let unused = listed(&id).await;
        assert_eq!(unused["last_used_at"], Value::Null);
        assert_eq!(unused["expires_at"], "2199-01-01T00:00:00.000Z");
        assert!(unused["created_by"].as_str().unwrap().starts_with("key:"), "{unused}");
        assert_eq!(get_as(&service, &wall, "/v1/facilities").await.0, 200);
        let is_stored = async || !listed(&id).await["last_used_at"].is_null();
        wait_until("the use is stored", is_stored).await;
        let list = service.launch().run(&["key", "list"]).await;
        assert!(list.output.contains(&id) && list.output.contains("\"wall\""), "{}", list.output);
        // Neither the key nor its secret is anywhere but in the answer that made it.
        // The secret may have `_` in it.
        let secret = wall.split_at("fs_000000000000_".len()).1;
        let keys = service.get("/v1/api-keys").await.text().await.unwrap();
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        for text in [keys, log, list.output, service.logs().join("\n")] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn a_key_that_ends_is_refused_from_then_on() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let end = crate::steps::instant(crate::steps::now_ms() + 10_000);
    let short =
        added(&launch, &["--role=viewer", "--all-facilities", "--name=short", "--expires", &end])
            .await;
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    assert_eq!(get_as(&service, &short, "/v1/facilities").await.0, 200);
    wait_until("it has ended", async || get_as(&service, &short, "/v1/facilities").await.0 == 401)
        .await;
    assert!(crate::steps::now_ms() >= end.parse::<jiff::Timestamp>().unwrap().as_millisecond());
}

on_both_stores! {
    async fn a_wish_that_makes_no_sense_is_refused_with_what_would_be_right(launch: Launch) {
        let service = signed_in(launch).await;
        let site = site(&service, "Own").await;
        let viewer = |field: &str, value: Value| {
            let mut wish = json!({"name": "x", "role": "viewer", "facilities": "all"});
            wish[field] = value;
            wish
        };
        for (wish, field) in [
            (viewer("name", json!(" ")), "/name"),
            (viewer("name", json!("x".repeat(201))), "/name"),
            (viewer("name", json!("a\u{0}b")), "/name"),
            (viewer("name", json!("a\nb")), "/name"),
            (viewer("name", json!("a\u{202e}b")), "/name"),
            (viewer("name", json!("a\u{2066}b")), "/name"),
            (viewer("name", json!(7)), "/name"),
            (json!({"role": "viewer", "facilities": "all"}), "/name"),
            // Nobody sees every facility because nothing was said.
            (json!({"name": "x", "role": "viewer"}), "/facilities"),
            (json!({"name": "x", "role": "operator", "facilities": null}), "/facilities"),
            (viewer("facilities", json!("ALL")), "/facilities"),
            (viewer("facilities", json!(["all"])), "/facilities"),
            (json!({"name": "x"}), "/role"),
            (viewer("role", json!("root")), "/role"),
            (viewer("role", json!(["viewer"])), "/role"),
            (json!({"name": "x", "role": "admin", "facilities": [site.facility]}), "/facilities"),
            (viewer("facilities", json!([])), "/facilities"),
            (viewer("facilities", json!(["north"])), "/facilities"),
            (viewer("facilities", json!(site.facility)), "/facilities"),
            (viewer("may_read", json!(true)), "/may_read"),
            (viewer("may_read", json!("yes")), "/may_read"),
            (viewer("may_read", json!(null)), "/may_read"),
            (viewer("expires_at", json!("2020-01-01T00:00:00Z")), "/expires_at"),
            (viewer("expires_at", json!("soon")), "/expires_at"),
            (viewer("expires_at", json!("9999-12-31T23:59:59Z")), "/expires_at"),
            (viewer("x", json!(1)), "/x"),
            (json!(["x", "viewer", null, false, null]), ""),
            (json!("x"), ""),
        ] {
            let refused = service.post("/v1/api-keys", &wish).await;
            let (status, problem) = (refused.status(), refused.json::<Value>().await.unwrap());
            let faults = &problem["errors"];
            assert_eq!(
                (status.as_u16(), &faults[0]["pointer"], faults.as_array().map(Vec::len)),
                (422, &json!(field), Some(1)),
                "{wish}: {problem}"
            );
            let detail = faults[0]["detail"].as_str().unwrap();
            assert!(!detail.contains("struct") && !detail.contains("line 1"), "{detail}");
        }
        let late = viewer("expires_at", json!("9999-12-31T23:59:59Z"));
        let refused = service.post("/v1/api-keys", &late).await.text().await.unwrap();
        assert!(refused.contains("in the years 1900 to 2199"), "{refused}");
        let path = format!("/v1/facilities/{}", site.facility);
        let listed = service.put(&path, &json!(["Own", "Etc/UTC"])).await;
        assert_eq!(listed.status(), 422, "a list is no registration");
        let keys: Value = service.get("/v1/api-keys").await.json().await.unwrap();
        assert_eq!(keys["items"].as_array().map(Vec::len), Some(1), "only the admin's: {keys}");
    }
}

#[tokio::test]
async fn a_command_that_makes_no_sense_is_refused_with_what_would_be_right() {
    let launch = &Service::on_sqlite();
    for (options, word) in [
        (
            vec![
                "--role",
                "admin",
                "--name",
                "x",
                "--facility",
                "0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d",
            ],
            "--facility",
        ),
        (vec!["--role=viewer", "--all-facilities", "--name", ""], "--name"),
        (vec!["--role=viewer", "--all-facilities", "--name", "a\u{202e}b"], "--name"),
        (vec!["--role", "viewer", "--name", "x"], "--all-facilities"),
        (vec!["--role", "operator", "--name", "x"], "--facility ID"),
        (vec!["--role=viewer", "--all-facilities", "--name=x", "--expires=soon"], "--expires"),
        (vec!["--role", "king", "--name", "x"], "viewer, operator, admin"),
    ] {
        let words: Vec<&str> = ["key", "add"].into_iter().chain(options).collect();
        let refused = launch.run(&words).await;
        assert_eq!(refused.code, Some(2), "{}", refused.output);
        assert!(refused.output.contains(word), "{}", refused.output);
    }
    added(launch, &["--role", "admin", "--name", "first"]).await;
    for unknown in ["000000000000", "secret_secret", "fs_"] {
        let refused = launch.run(&["key", "revoke", unknown]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.output);
        assert_eq!(refused.output.contains(unknown), unknown == "000000000000", "{unknown}");
    }
}

on_both_stores! {
    async fn a_whole_key_in_the_place_of_its_id_is_revoked_and_shown_nowhere(launch: Launch) {
        let service = signed_in(launch).await;
        let wish = || json!({"name": "leaked", "role": "service"});
        let (one, other) = (key(&service, wish()).await, key(&service, wish()).await);
        let by_command = service.launch().run(&["key", "revoke", &one]).await;
        assert_eq!(by_command.code, Some(0), "{}", by_command.output);
        let path = format!("/v1/api-keys/{other}");
        let by_http = service.request(reqwest::Method::DELETE, &path).send().await.unwrap();
        assert_eq!(by_http.status(), 204);
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        for leaked in [&one, &other] {
            wait_until("it has ended", async || {
                get_as(&service, leaked, "/v1/facilities").await.0 == 401
            })
            .await;
            let secret = leaked.split_at("fs_000000000000_".len()).1;
            for text in [&by_command.output, &log, &service.logs().join("\n")] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    async fn a_command_about_keys_says_where_and_makes_no_database_to_look_into(launch: Launch) {
        for words in [&["key", "list"][..], &["key", "revoke", "000000000000"]] {
            // Twice: the first one has made nothing that the second one would find.
            for _ in 0..2 {
                let exited = launch.run(words).await;
                assert_eq!(exited.code, Some(1), "{}", exited.output);
                assert!(exited.output.contains("there are no tables"), "{}", exited.output);
            }
        }
        let made = launch.run(&["key", "add", "--role=admin", "--name=first"]).await;
        let listed = launch.run(&["key", "list"]).await;
        for exited in [made, listed] {
            assert_eq!(exited.code, Some(0), "{}", exited.output);
            assert!(exited.output.contains("Database: "), "{}", exited.output);
        }
    }
}

on_both_stores! {
    async fn each_change_is_in_the_audit_log(launch: Launch) {
        let service = signed_in(launch).await;
        let made = key(&service, json!({"name": "short-lived", "role": "service"})).await;
        let id = made.split('_').nth(1).unwrap();
        let path = format!("/v1/api-keys/{id}");
        let revoke = || service.request(reqwest::Method::DELETE, &path).send();
        assert_eq!(revoke().await.unwrap().status(), 204);
        assert_eq!(revoke().await.unwrap().status(), 404);
        let log: Value = service.get("/v1/audit-log?limit=2").await.json().await.unwrap();
        let of = |place: usize, name: &str| log["items"][place][name].clone();
        assert_eq!((of(0, "action"), of(0, "subject")), (json!("key.revoked"), json!(id)), "{log}");
        assert_eq!((of(1, "action"), of(1, "subject")), (json!("key.added"), json!(id)), "{log}");
        assert_eq!(of(1, "detail")["name"], "short-lived");
        assert_eq!(of(1, "address"), "127.0.0.1");
        assert!(of(1, "actor").as_str().unwrap().starts_with("key:"), "{log}");
        let cursor = log["next_cursor"].as_str().expect("the admin's key came before");
        let rest: Value =
            service.get(&format!("/v1/audit-log?cursor={cursor}")).await.json().await.unwrap();
        assert!(rest["items"][0]["actor"].as_str().unwrap().starts_with("command:"), "{rest}");
        assert!(rest["items"][0]["address"].is_null() && rest["next_cursor"].is_null(), "{rest}");
    }
}

on_both_stores! {
    async fn the_database_refuses_to_change_the_audit_log(launch: Launch) {
        let service = signed_in(launch).await;
        key(&service, json!({"name": "made", "role": "service"})).await;
        let log = async || service.get("/v1/audit-log").await.json::<Value>().await.unwrap();
        let before = log().await;
        assert_eq!(before["items"].as_array().map(Vec::len), Some(2), "{before}");
        let change = "UPDATE access_log SET actor = 'somebody else'";
        let refused = plain_sql::attempt(service.database_url(), change).await.unwrap_err();
        assert!(refused.to_string().contains("insert-only"), "{refused}");
        assert_eq!(log().await, before);
        // Old entries are deleted after a time.
        plain_sql::execute(service.database_url(), "DELETE FROM access_log").await;
        assert_eq!(log().await["items"], json!([]));
    }
}

#[tokio::test]
async fn without_sign_in_only_a_loopback_address_is_bound() {
    let refused = Service::on_sqlite().env("BIND_ADDR", "0.0.0.0:0").run(&["serve"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.output);
    assert!(
        refused.output.contains("auth.sign_in") && refused.output.contains("key add"),
        "{}",
        refused.output
    );
    let service = signed_in(Service::on_sqlite().env("BIND_ADDR", "0.0.0.0:0")).await;
    assert!(!service.address.ip().is_loopback());
}

#[tokio::test]
async fn a_start_without_any_key_says_how_to_make_one() {
    let service = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on").start().await;
    let said = service.logs().join("\n");
    assert!(said.contains("key add --role admin"), "{said}");
    assert_eq!(get_as(&service, "fs_", "/v1/facilities").await.0, 401);
    // The key works without a restart.
    let first = added(service.launch(), &["--role", "admin", "--name", "first"]).await;
    assert_eq!(get_as(&service, &first, "/v1/facilities").await.0, 200);
    let viewer = key_of_unknown_facility(&service, &first).await;
    assert_eq!(get_as(&service, &viewer, "/v1/facilities").await.0, 200);
}

async fn key_of_unknown_facility(service: &Service, admin: &str) -> String {
    let made = service
        .request_as(Some(admin), reqwest::Method::POST, "/v1/api-keys")
        .json(&json!({"name": "early", "role": "viewer", "facilities": [Uuid::new_v4()]}))
        .send()
        .await
        .unwrap();
    made.json::<Value>().await.unwrap()["key"].as_str().unwrap().to_owned()
}
