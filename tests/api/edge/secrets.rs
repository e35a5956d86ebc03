//! No secret of the settings reaches a log, an error or an answer.

use std::path::Path;

use super::server;
use crate::support::{Service, service::Launch, wait_until};

const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
const KEYS: &str = "sesame-sesame-sesame-sesame-sesame-sesame";
const PASSWORD: &str = "correct-horse-battery";

fn auth(launch: Launch, key: &str, value: &str) -> Launch {
    launch.env(&format!("FACILITY_SUMMARY__AUTH__{key}"), value)
}

/// All secrets that settings can have, on SQLite.
fn with_secrets(launch: Launch) -> Launch {
    let launch = auth(auth(launch, "SECRET", SECRET), "ISSUER", "lab");
    auth(launch, "KEYS", KEYS)
        .env("REDIS_URL", format!("redis://:{PASSWORD}@127.0.0.1:1"))
        .env("FACILITY_SUMMARY__LOG__FILTER", "trace")
}

fn assert_silent(what: &str, text: &str) {
    for secret in [SECRET, KEYS, PASSWORD, "fs_0123456789ab_a-forged-secret", "PRIVATE KEY"] {
        if let Some(at) = text.find(secret) {
            let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let line = text[start..].lines().next().unwrap_or_default();
            panic!("{what} shows {secret}: {line}");
        }
    }
}

#[tokio::test]
async fn a_run_with_all_secrets_set_shows_none_of_them() {
    let service = with_secrets(Service::on_sqlite()).start_to_listen().await;
    wait_until("it answers", async || service.get("/health/live").await.status() == 200).await;
    let forged = "fs_0123456789ab_a-forged-secret";
    for path in ["/v1/facilities", "/v1/auth/me", "/openapi.json", "/health/ready", "/metrics"] {
        for credential in [None, Some(forged), Some("a.b.c")] {
            let request = service.request_as(credential, reqwest::Method::GET, path);
            let answer = request.send().await.unwrap();
            assert_silent(path, &format!("{:?}", answer.headers()));
            assert_silent(path, &answer.text().await.unwrap());
        }
    }
    let (exited, launch) = service.terminate().await;
    assert_silent("the log", &exited.output);
    // Debug of the settings goes into no log by itself, but somebody may add a line that does.
    for (variable, value) in [
        ("DATABASE_URL", format!("postgres://u:{PASSWORD}@127.0.0.1:1/x?sslmode=nonsense")),
        ("DATABASE_URL", format!("postgres://u:{PASSWORD}@127.0.0.1:1/x")),
        ("REDIS_URL", format!("redis://:{PASSWORD}@127.0.0.1:port")),
        ("FACILITY_SUMMARY__AUTH__SECRET", "short-hunter2".to_owned()),
    ] {
        let refused = launch.clone().env(variable, &value).run(&["serve"]).await;
        assert!(refused.code.is_some_and(|code| code != 0), "{variable}: {}", refused.output);
        assert_silent(variable, &refused.output);
        assert!(!refused.output.contains("short-hunter2"), "{}", refused.output);
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_not_shown() {
    let launch = Service::on_sqlite();
    let file = launch.folder().join("secret.pem");
    std::fs::write(&file, format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n")).unwrap();
    let path = |file: &Path| file.display().to_string();
    let tls = server(launch.clone(), "tls_certificate", path(&file));
    let tls = server(tls, "tls_key", path(&file));
    let keys = auth(auth(launch, "ISSUER", "lab"), "KEYS_FILE", &path(&file));
    for launch in [tls, keys] {
        let refused = launch.run(&["serve"]).await;
        assert!(refused.code.is_some_and(|code| code != 0), "{}", refused.output);
        assert_silent("the start", &refused.output);
    }
}
