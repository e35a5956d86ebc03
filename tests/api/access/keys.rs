//! API keys: made, listed, used and ended, by the API and by the command.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{added, get_as, key, signed_in, site};
use crate::{
    on_both_stores,
    support::{Service, wait_until},
};

on_both_stores! {
    async fn a_key_is_shown_once_and_its_uses_are_listed(launch: Launch) {
        let service = signed_in(launch).await;
        let wish = json!({"name": "wall", "role": "viewer", "expires_at": "2199-01-01T00:00:00Z"});
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
        let secret = wall.rsplit('_').next().unwrap();
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
    let end = crate::steps::instant(crate::steps::now_ms() + 4_000);
    let short = added(&launch, &["--role", "viewer", "--name", "short", "--expires", &end]).await;
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    assert_eq!(get_as(&service, &short, "/v1/facilities").await.0, 200);
    wait_until("it has ended", async || get_as(&service, &short, "/v1/facilities").await.0 == 401)
        .await;
    assert!(crate::steps::now_ms() >= end.parse::<jiff::Timestamp>().unwrap().as_millisecond());
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_refused_with_what_would_be_right() {
    let service = signed_in(Service::on_sqlite()).await;
    let site = site(&service, "Own").await;
    for (wish, field) in [
        (json!({"name": " ", "role": "viewer"}), "/name"),
        (json!({"name": "x".repeat(201), "role": "viewer"}), "/name"),
        (json!({"name": "x\u{0}", "role": "viewer"}), "/name"),
        (json!({"name": "x", "role": "root"}), "/role"),
        (json!({"name": "x", "role": "admin", "facilities": [site.facility]}), "/facilities"),
        (json!({"name": "x", "role": "viewer", "facilities": []}), "/facilities"),
        (json!({"name": "x", "role": "viewer", "may_read": true}), "/may_read"),
        (
            json!({"name": "x", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
            "/expires_at",
        ),
        (json!({"name": "x", "role": "viewer", "expires_at": "soon"}), "/expires_at"),
    ] {
        let refused = service.post("/v1/api-keys", &wish).await;
        let (status, problem) = (refused.status(), refused.json::<Value>().await.unwrap());
        assert_eq!(
            (status.as_u16(), &problem["errors"][0]["pointer"]),
            (422, &json!(field)),
            "{problem}"
        );
    }
    let unknown =
        service.post("/v1/api-keys", &json!({"name": "x", "role": "viewer", "x": 1})).await;
    assert_eq!(unknown.status(), 422);
    let launch = service.launch();
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
        (vec!["--role", "viewer", "--name", ""], "--name"),
        (vec!["--role", "viewer", "--name", "x", "--expires", "soon"], "--expires"),
        (vec!["--role", "king", "--name", "x"], "viewer, operator, admin"),
    ] {
        let words: Vec<&str> = ["key", "add"].into_iter().chain(options).collect();
        let refused = launch.run(&words).await;
        assert_eq!(refused.code, Some(2), "{}", refused.output);
        assert!(refused.output.contains(word), "{}", refused.output);
    }
    let unknown = launch.run(&["key", "revoke", "000000000000"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.output);
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
