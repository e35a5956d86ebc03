//! The second listener, for those who watch the service; and who may read metrics.

use std::net::SocketAddr;

use reqwest::{Client, Method};

use super::{REQUESTS, header, server};
use crate::{
    access::{asked, key_of, signed_in},
    support::Service,
};

const WATCHED: [&str; 6] =
    ["/metrics", "/health/live", "/health/ready", "/openapi.json", "/docs/", "/"];

/// The address of the second listener, as the log has it.
fn internal(service: &Service) -> SocketAddr {
    let entry = service.logged("listening").remove(0);
    entry["internal_address"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn with_a_second_listener_what_watchers_need_is_answered_only_there() {
    let launch = server(Service::on_sqlite(), "internal_bind", "127.0.0.1:0").env(REQUESTS, 30);
    let service = launch.start_to_listen().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let (public, internal) = (service.address, internal(&service));
    let ask =
        |address: SocketAddr, path: &str| client.get(format!("http://{address}{path}")).send();
    crate::support::wait_until("it is ready", async || {
        ask(internal, "/health/ready").await.unwrap().status() == 200
    })
    .await;
    for path in WATCHED {
        let answer = ask(public, path).await.unwrap();
        assert_eq!(answer.status(), 404, "{path} at the listener for everybody");
        let answer = ask(internal, path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path} at the other one");
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert_eq!(ask(public, "/v1/facilities").await.unwrap().status(), 200);
    assert_eq!(ask(internal, "/v1/facilities").await.unwrap().status(), 404);
    // It has no limits: a scrape is answered whatever a flood does.
    for _ in 0..50 {
        assert_eq!(ask(internal, "/metrics").await.unwrap().status(), 200);
    }
    let (exited, _) = service.terminate().await;
    assert_eq!(exited.code, Some(0), "both listeners end: {}", exited.output);
}

#[tokio::test]
async fn metrics_that_need_a_credential_are_for_the_role_metrics_and_admins() {
    let service = signed_in(server(Service::on_sqlite(), "metrics", "signed_in")).await;
    let status = async |credential: Option<&str>| {
        asked(&service, credential, Method::GET, "/metrics").await.status().as_u16()
    };
    assert_eq!(status(None).await, 401);
    for (role, expected) in [("metrics", 200), ("viewer", 403), ("operator", 403), ("service", 403)]
    {
        assert_eq!(status(Some(&key_of(&service, role, &[]).await)).await, expected, "{role}");
    }
    assert_eq!(service.get("/metrics").await.status(), 200, "the admin's");
    assert_eq!(asked(&service, None, Method::GET, "/health/ready").await.status(), 200);
}

#[tokio::test]
async fn the_second_listener_is_on_a_loopback_address_without_sign_in_and_another_than_the_first() {
    for (name, value, words) in [
        ("internal_bind", "0.0.0.0:9090", "must be a loopback address while there is no sign-in"),
        ("internal_bind", "9090", "must be an address and a port"),
        ("metrics", "signed_in", "needs sign-in"),
    ] {
        let refused = server(Service::on_sqlite(), name, value).run(&["serve"]).await;
        assert_eq!(refused.code, Some(2), "{}", refused.output);
        assert!(refused.output.contains(words), "{}", refused.output);
    }
    let same = server(Service::on_sqlite(), "internal_bind", "127.0.0.1:4711");
    let refused = same.env("BIND_ADDR", "127.0.0.1:4711").run(&["serve"]).await;
    assert!(refused.output.contains("another address or port"), "{}", refused.output);
}

#[tokio::test]
async fn a_demo_is_bound_to_a_loopback_address_too() {
    let refused =
        Service::on_sqlite().env("BIND_ADDR", "0.0.0.0:0").run(&["serve", "--demo"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.output);
    for words in ["loopback", "FACILITY_SUMMARY__AUTH__SIGN_IN=on", "key add", "container"] {
        assert!(refused.output.contains(words), "{words}: {}", refused.output);
    }
}
