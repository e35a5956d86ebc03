use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::*;
use crate::support::{Service, openid::Answer, service::Launch};

const SECRET: &str = "thirty-two bytes of a good secret";

fn with_secret() -> Launch {
    Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__SECRET", SECRET)
        .env("DATABASE_URL", "postgres://127.0.0.1:1/nothing-listens-here")
}

/// The token that a command has printed.
fn printed(output: &str) -> &str {
    output.lines().find(|line| line.starts_with("eyJ")).unwrap_or_else(|| panic!("{output}"))
}

#[tokio::test]
async fn a_token_that_was_made_is_explained_without_a_database() {
    let launch = with_secret();
    let other = "018f4e2a-0000-7000-8000-000000000001";
    let minted = launch
        .run(&["token", "mint", "--role=viewer", "--facility", FACILITY, other, "--name=Ann"])
        .await;
    assert_eq!(minted.code, Some(0), "{}", minted.output);
    assert!(!minted.output.contains(SECRET));
    let token = printed(&minted.output);
    let explained = launch.run(&["token", "explain", token]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.output);
    for words in [
        "ok  form: a signed JWT",
        "ok  issuer: \"facility-summary\"",
        "ok  header: algorithm HS256, type \"at+jwt\"",
        "ok  signature: fits",
        "ok  role: viewer",
        "accepted: token:facility-summary#",
        "(\"Ann\"), viewer, may read the figures of facilities: ",
        FACILITY,
        other,
    ] {
        assert!(explained.output.contains(words), "{words}: {}", explained.output);
    }

    let all = launch.run(&["token", "mint", "--role=operator", "--all-facilities"]).await;
    let explained = launch.run(&["token", "explain", printed(&all.output)]).await;
    assert!(explained.output.contains("of facilities: all"), "{}", explained.output);

    let elsewhere =
        with_secret().env("FACILITY_SUMMARY__AUTH__SECRET", "another secret of thirty-two bytes!");
    let refused = elsewhere.run(&["token", "explain", token]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(refused.output.contains("NO  the signature does not fit"), "{}", refused.output);
    assert!(refused.output.contains("not accepted"), "{}", refused.output);
}

#[tokio::test]
async fn a_token_is_read_from_standard_input_too() {
    let launch = with_secret();
    let minted = launch.run(&["token", "mint", "--role=admin", "--ttl=5m"]).await;
    for (text, code) in [
        (printed(&minted.output).to_owned(), 0),
        (format!("Bearer {}\n", printed(&minted.output)), 0),
        (String::new(), 1),
        ("x".repeat(64 << 10), 1),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_facility-summary"))
            .args(["token", "explain", "-"])
            .env("FACILITY_SUMMARY__AUTH__SECRET", SECRET)
            .current_dir(launch.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It does not read all of a text that is too long.
        let _ = command.stdin.take().unwrap().write_all(text.as_bytes());
        let output = command.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

#[tokio::test]
async fn a_token_of_a_provider_is_explained_with_the_keys_that_it_has_now() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let token = pair.token(&provider.issuer());
    let launch = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__ISSUER", provider.issuer())
        .env("FACILITY_SUMMARY__AUTH__CLAIMS__FACILITIES", "facilities");
    let explained = launch.run(&["token", "explain", &token]).await;
    assert_eq!(explained.code, Some(0), "{}", explained.output);
    assert!(explained.output.contains("fits the issuer's key \"k1\""), "{}", explained.output);
    let launch = launch.env("FACILITY_SUMMARY__AUTH__AUDIENCE", "another");
    let refused = launch.run(&["token", "explain", &token]).await;
    assert_eq!(refused.code, Some(1));
    let words = "NO  the audience is \"facility-summary\"; expected \"another\"";
    assert!(refused.output.contains(words), "{}", refused.output);
    let launch = launch.env("FACILITY_SUMMARY__AUTH__AUDIENCE", "facility-summary");
    provider.answer(Answer::Status("503 Service Unavailable", String::new()));
    let undecided = launch.run(&["token", "explain", &token]).await;
    assert_eq!(undecided.code, Some(1));
    assert!(undecided.output.contains("have not been fetched yet"), "{}", undecided.output);
}

#[tokio::test]
async fn wrong_use_of_the_token_commands_exits_with_2_and_says_what_is_right() {
    let launch = with_secret();
    for (words, said) in [
        (&["token", "mint", "--role=viewer"][..], "--facility ID"),
        (&["token", "mint", "--role=operator"], "--all-facilities"),
        (&["token", "mint", "--role=admin", "--facility", FACILITY], "not about single"),
        (&["token", "mint", "--role=boss"], "\"boss\" is no role; expected one of viewer"),
        (&["token", "mint", "--role=viewer", "--facility=north"], "north"),
        (&["token", "mint", "--role=admin", "--ttl=0s"], "expected a time such as"),
        (&["token", "mint", "--role=admin", "--ttl=31d"], "expected a time such as"),
        (&["token", "mint", "--role=admin", "--ttl=1"], "expected a time such as"),
        (&["token", "explain"], "JWT"),
    ] {
        let exited = launch.run(words).await;
        assert_eq!(exited.code, Some(2), "{words:?}: {}", exited.output);
        assert!(exited.output.contains(said), "{said}: {}", exited.output);
    }
    let bare = Service::on_sqlite();
    let exited = bare.run(&["token", "mint", "--role=admin"]).await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    assert!(exited.output.contains("auth.secret is not set"), "{}", exited.output);
    let exited = bare.run(&["token", "explain", "a.b.c"]).await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    assert!(exited.output.contains("no issuer is configured"), "{}", exited.output);
    let weak = bare.env("FACILITY_SUMMARY__AUTH__SECRET", "too short a secret");
    let exited = weak.run(&["token", "mint", "--role=admin"]).await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    assert!(exited.output.contains("auth.secret = ***: a secret must have at least 32 bytes"));
    assert!(!exited.output.contains("too short a"), "{}", exited.output);
}
