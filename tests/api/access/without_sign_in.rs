//! Without sign-in: what pages of other sites can do by a browser on this machine, and what counts
//! once sign-in is switched on.

use reqwest::Method;
use serde_json::{Value, json};

use super::added;
use crate::{bad_input::raw_http::ask, on_both_stores, support::Service};

on_both_stores! {
    async fn keys_are_made_by_the_command_only(launch: Launch) {
        let service = launch.start().await;
        let wish = json!({"name": "planted", "role": "admin"});
        let delete = || service.request(Method::DELETE, "/v1/api-keys/000000000000").send();
        for refused in [service.post("/v1/api-keys", &wish).await, delete().await.unwrap()] {
            let (status, problem) = (refused.status(), refused.json::<Value>().await.unwrap());
            assert_eq!(status, 409, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("key add"), "{problem}");
        }
        let keys: Value = service.get("/v1/api-keys").await.json().await.unwrap();
        assert_eq!(keys, json!({"items": []}));
    }

    async fn a_start_with_sign_in_names_the_keys_that_may_do_everything(launch: Launch) {
        added(&launch, &["--role", "admin", "--name", "planted"]).await;
        added(&launch, &["--role", "admin", "--name", "mine"]).await;
        added(&launch, &["--role", "viewer", "--all-facilities", "--name", "wall"]).await;
        let over = added(&launch, &["--role", "admin", "--name", "over"]).await;
        let revoked = launch.run(&["key", "revoke", &over]).await;
        assert_eq!(revoked.code, Some(0), "{}", revoked.output);
        let service = launch.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on").start().await;
        let said = service.logs();
        let said: Vec<&String> =
            said.iter().filter(|line| line.contains("everything may be done")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        let names = ["planted", "mine", "wall", "over"].map(|name| said[0].contains(name));
        assert_eq!(names, [true, true, false, false], "{said:?}");
        assert!(said[0].contains("\"count\":2"), "{said:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_and_reads_nothing() {
    let service = Service::on_sqlite().start().await;
    let own = format!("http://{}", service.address);
    for (name, value, expected) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-origin", 202),
        ("origin", own.as_str(), 202),
    ] {
        let request = service.request(Method::POST, "/v1/rebuild").header(name, value);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{name}: {value}");
        // A page may read nothing of another origin, so a browser asks for it as ever.
        let read = service.request(Method::GET, "/v1/facilities").header(name, value);
        assert_eq!(read.send().await.unwrap().status(), 200, "{name}: {value}");
    }
    // A name of the page's own, whose address was changed to a loopback one.
    let rebound = |method: Method, path: &str| {
        service.request(method, path).header("host", "evil.example:8080")
    };
    for (method, path) in [
        (Method::GET, "/v1/facilities"),
        (Method::GET, "/health/ready"),
        (Method::GET, "/metrics"),
        (Method::GET, "/docs/"),
        (Method::POST, "/v1/rebuild"),
        (Method::POST, "/v1/events"),
    ] {
        let answer = rebound(method, path).send().await.unwrap();
        let (status, problem) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 421, "{path}: {problem}");
        assert!(problem.contains("auth.sign_in"), "{path}: {problem}");
    }
    // The same in the target, where the header names this machine.
    let asked = ask(service.address, "GET", b"http://evil.example/v1/facilities", b"");
    asked.says(421, "auth.sign_in");
    let named = service.request(Method::GET, "/v1/facilities").header("host", "localhost:9000");
    assert_eq!(named.send().await.unwrap().status(), 200);
    // With sign-in a page would need a credential, and the service may have any name.
    let service = super::signed_in(Service::on_sqlite()).await;
    let named = service.request(Method::GET, "/v1/facilities").header("host", "summary.example");
    assert_eq!(named.send().await.unwrap().status(), 200);
}
