//! RFC 9728: where clients get tokens for the service.

use serde_json::{Value, json};

use super::header;
use crate::support::{Service, service::Launch};

const PATH: &str = "/.well-known/oauth-protected-resource";

fn auth(launch: Launch, key: &str, value: &str) -> Launch {
    launch.env(&format!("FACILITY_SUMMARY__AUTH__{key}"), value)
}

/// A provider that is never asked: its keys stand in the settings.
fn with_issuer(launch: Launch) -> Launch {
    let launch = auth(launch, "ISSUER", "https://login.example/realms/blood");
    auth(launch, "KEYS", "a secret of at least thirty-two bytes!")
}

#[tokio::test]
async fn a_401_names_the_metadata_and_these_the_issuer() {
    let launch = auth(with_issuer(Service::on_sqlite()), "PUBLIC_URL", "https://summary.example");
    let service = launch.start().await;
    let metadata: Value = service.get(PATH).await.json().await.unwrap();
    assert_eq!(
        metadata,
        json!({
            "resource": "https://summary.example",
            "authorization_servers": ["https://login.example/realms/blood"],
            "bearer_methods_supported": ["header"],
            "resource_name": "facility-summary",
        })
    );
    let named = format!("resource_metadata=\"https://summary.example{PATH}\"");
    let nobody = service.get("/v1/facilities").await;
    let challenge = header(&nobody, "www-authenticate").unwrap();
    assert_eq!(challenge, format!("Bearer realm=\"facility-summary\", {named}"));
    let forged = service
        .request_as(Some("forged"), reqwest::Method::GET, "/v1/facilities")
        .send()
        .await
        .unwrap();
    let challenge = header(&forged, "www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\"") && challenge.ends_with(&named));
}

#[tokio::test]
async fn without_an_issuer_or_the_url_of_the_service_there_is_no_metadata() {
    for launch in [
        with_issuer(Service::on_sqlite()),
        auth(auth(Service::on_sqlite(), "SIGN_IN", "on"), "PUBLIC_URL", "https://summary.example"),
    ] {
        let service = launch.start().await;
        assert_eq!(service.get(PATH).await.status(), 404);
        let nobody = service.get("/v1/facilities").await;
        let challenge = header(&nobody, "www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"facility-summary\""));
    }
    for wrong in ["http://summary.example", "https://summary.example/x", "summary.example", "*"] {
        let refused = auth(Service::on_sqlite(), "PUBLIC_URL", wrong).run(&["serve"]).await;
        assert_eq!(refused.code, Some(2), "{wrong}: {}", refused.output);
        assert!(refused.output.contains("auth.public_url"), "{}", refused.output);
    }
}
