//! `facility-summary watch` against the real service.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{key_of, signed_in},
    steps::{bank, facility, get, inventory, path, post},
    support::{Service, service::RunningCommand, wait_until},
};

/// The messages that it has printed, of a type.
pub fn printed(watch: &RunningCommand, kind: &str) -> Vec<Value> {
    let lines = watch.lines();
    let messages = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter(|message| message["type"] == kind).collect()
}

/// Waits until it has printed this stock.
pub async fn prints_stock(watch: &RunningCommand, stock: i64) {
    wait_until("the stock is printed", async || {
        printed(watch, "summary").iter().any(|one| one["summary"]["total_stock"] == stock)
    })
    .await;
}

fn url(service: &Service) -> String {
    format!("--url=http://{}", service.address)
}

#[tokio::test]
async fn it_prints_what_the_service_sends_and_goes_on_after_a_crash_with_what_has_changed() {
    let service = Service::on_sqlite().start().await;
    let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
    let (bank, unit) = (bank(&service, a).await, Uuid::new_v4());
    post(&service, &[inventory(unit, bank, "O+", 5)]).await;
    let ids = [a.to_string(), b.to_string()];
    let watch =
        service.launch().start_command(&["watch", &ids[0], &ids[1], &url(&service), "--json"]);
    wait_until("both are printed", async || printed(&watch, "summary").len() == 2).await;
    let summaries = printed(&watch, "summary");
    let of_a = summaries.iter().find(|message| message["summary"]["facility_id"] == ids[0]);
    assert_eq!(of_a.unwrap()["summary"], get(&service, &path(a, "today")).await);
    post(&service, &[inventory(unit, bank, "O+", 6)]).await;
    prints_stock(&watch, 6).await;

    let address = service.address.to_string();
    let service = service.kill_9().await.env("BIND_ADDR", address).start().await;
    wait_until("it is back", async || printed(&watch, "subscribed").len() == 2).await;
    post(&service, &[inventory(unit, bank, "O+", 7)]).await;
    prints_stock(&watch, 7).await;
    let lines = watch.lines();
    assert!(lines.iter().any(|line| line.contains("the next attempt comes in")), "{lines:?}");
    // B is known, and has not changed.
    let of_b = printed(&watch, "summary");
    assert_eq!(of_b.iter().filter(|one| one["summary"]["facility_id"] == ids[1]).count(), 1);
    watch.signal(libc::SIGINT);
    assert_eq!(watch.wait().await.code, Some(0));
}

#[tokio::test]
async fn without_a_terminal_each_change_is_a_line_with_the_name_and_a_table_is_drawn_on_one() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "North Hospital", "UTC").await;
    let bank = bank(&service, a).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 41)]).await;
    let watch = service.launch().start_command(&["watch", "--all", &url(&service)]);
    wait_until("the totals are printed", async || {
        let lines = watch.lines();
        let has = |what: &str| lines.iter().any(|line| line.contains(what));
        has("North Hospital") && has("all 1  stock 41")
    })
    .await;
    assert!(watch.lines().iter().any(|line| line.contains("stock 41  transferred 0  requests 0")));
    watch.signal(libc::SIGTERM);
    assert_eq!(watch.wait().await.code, Some(0));

    let table = on_a_terminal(&service, &["watch", &a.to_string(), &url(&service)]);
    wait_until("the table is drawn, and drawn again", async || {
        let text = table.lines().join("\n");
        text.matches("North Hospital").count() > 3 && text.contains("AGE")
    })
    .await;
    table.signal(libc::SIGTERM);
}

/// Starts a command on a pseudo terminal, which `script` (util-linux) makes.
fn on_a_terminal(service: &Service, words: &[&str]) -> RunningCommand {
    let line = [&[env!("CARGO_BIN_EXE_facility-summary")], words].concat().join(" ");
    service.launch().start_other("script", &["-qfec", &line, "/dev/null"])
}

#[tokio::test]
async fn what_it_cannot_follow_ends_it_with_the_reason_and_its_exit_code() {
    let service = signed_in(Service::on_sqlite()).await;
    let a = facility(&service, "A", "UTC").await;
    let (url, a) = (url(&service), a.to_string());
    let unknown = Uuid::new_v4().to_string();
    let viewer = key_of(&service, "viewer", &[]).await;
    let launch = service.launch();
    for (words, code, what) in [
        (&["watch"][..], 2, "--all"),
        (&["watch", "seven"], 2, "seven"),
        (&["watch", &a, "--all"], 2, "cannot be used with"),
        (&["watch", &a, "--url=summary.example"], 2, "expected an address"),
        (&["watch", &a, &url], 1, "FACILITY_SUMMARY_KEY"),
        (&["watch", &a, &url, "--key=fs_wrong"], 1, "401"),
        (&["watch", &unknown, &url, "--key", &viewer], 1, "unknown"),
    ] {
        let ended = launch.run(words).await;
        assert_eq!(ended.code, Some(code), "{words:?}: {}", ended.output);
        assert!(ended.output.contains(what), "{words:?}: {}", ended.output);
        assert!(!ended.output.contains(&viewer), "it shows no credential");
    }
    let keyed = launch.clone().env("FACILITY_SUMMARY_KEY", &viewer);
    let watch = keyed.start_command(&["watch", &a, &unknown, &url, "--json"]);
    wait_until("it follows", async || printed(&watch, "summary").len() == 1).await;
    assert_eq!(printed(&watch, "subscribed")[0]["refused"][0]["reason"], json!("unknown"));
    let id = viewer.split('_').nth(1).unwrap();
    let path = format!("/v1/api-keys/{id}");
    let revoked = service.request(reqwest::Method::DELETE, &path).send().await;
    assert_eq!(revoked.unwrap().status(), 204);
    let ended = watch.wait().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("sign in anew"), "{}", ended.output);
}
