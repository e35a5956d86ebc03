//! Sign-in: who may do what, and that nobody else may.

mod audit;
mod by_token;
mod clock;
mod denied;
mod events;
pub mod forged;
mod keys;
mod lists;
mod matrix;
mod metrics;
pub mod people;
mod provider;
mod refused;
mod revoked;
mod sessions;
mod setup;
mod unknown;
mod without_sign_in;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    steps::noon_zone,
    support::{Service, service::Launch},
};

/// Starts a service with sign-in. Requests without another credential are those of an admin.
pub async fn signed_in(launch: Launch) -> Service {
    let launch = launch.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    launch.credential(&admin).start().await
}

/// Makes a key by the command.
pub async fn added(launch: &Launch, options: &[&str]) -> String {
    let words: Vec<&str> = ["key", "add"].into_iter().chain(options.iter().copied()).collect();
    let made = launch.run(&words).await;
    assert_eq!(made.code, Some(0), "{}", made.output);
    let key = made.output.lines().find(|line| line.starts_with("fs_"));
    key.unwrap_or_else(|| panic!("it prints the key: {}", made.output)).to_owned()
}

/// Makes a key over the API.
pub async fn key(service: &Service, wish: Value) -> String {
    let made = service.post("/v1/api-keys", &wish).await;
    let (status, made) = (made.status(), made.json::<Value>().await.unwrap());
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// The key of a role, limited to these facilities where there are any, and else of all.
pub async fn key_of(service: &Service, role: &str, facilities: &[Uuid]) -> String {
    let facilities = match (facilities.is_empty(), role) {
        (false, _) => json!(facilities),
        (true, "viewer" | "operator") => json!("all"),
        (true, _) => Value::Null,
    };
    key(service, json!({"name": format!("a {role}"), "role": role, "facilities": facilities})).await
}

/// Asks with a credential, or with none.
pub async fn asked(
    service: &Service,
    credential: Option<&str>,
    method: Method,
    path: &str,
) -> Response {
    service.request_as(credential, method, path).send().await.expect("the service answers")
}

async fn get_as(service: &Service, credential: &str, path: &str) -> (u16, Value) {
    let response = asked(service, Some(credential), Method::GET, path).await;
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

/// Registers a facility and a blood bank.
pub async fn site(service: &Service, name: &str) -> crate::support::site::Site {
    let site = crate::support::site::Site { facility: Uuid::new_v4(), bank: Uuid::new_v4() };
    let path = format!("/v1/facilities/{}", site.facility);
    let answer = service.put(&path, &json!({"name": name, "timezone": noon_zone()})).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let path = format!("/v1/blood-banks/{}", site.bank);
    let answer = service.put(&path, &json!({"facility_id": site.facility, "name": "Ward"})).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    site
}
