//! What a client gets that comes back, and what it is told when the database lost something.

use std::{path::Path, process::Command, time::Duration};

use serde_json::json;
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    on_both_stores,
    steps::{bank, facility, inventory, post},
    support::Service,
};

on_both_stores! {
    async fn who_comes_back_gets_what_has_changed_and_nothing_else(service: Service) {
        let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
        let (bank_a, bank_b) = (bank(&service, a).await, bank(&service, b).await);
        let (unit_a, unit_b) = (Uuid::new_v4(), Uuid::new_v4());
        post(&service, &[inventory(unit_a, bank_a, "O+", 1), inventory(unit_b, bank_b, "O+", 2)])
            .await;
        let query = format!("facility_id={a}&facility_id={b}");
        let mut events = Events::open(&service, &query, None).await;
        events.until("summary").await;
        events.until("summary").await;
        post(&service, &[inventory(unit_b, bank_b, "O+", 3)]).await;
        let last = events.until("summary").await;
        assert_eq!(last.data["summary"]["total_stock"], 3);
        let id = last.id.expect("it has everything");
        drop(events);
        let mut quiet = Events::open(&service, &query, Some(&id)).await;
        assert_eq!(quiet.until("subscribed").await.data["resumed"], true);
        assert!(quiet.is_quiet(Duration::from_secs(1)).await, "nothing has changed");
        drop(quiet);
        post(&service, &[inventory(unit_a, bank_a, "O+", 9)]).await;
        let mut events = Events::open(&service, &query, Some(&id)).await;
        let missed = events.until("summary").await;
        assert_eq!(missed.data["summary"]["total_stock"], 9);
        assert!(events.is_quiet(Duration::from_secs(1)).await, "nothing else has changed");
    }

    async fn an_id_that_nobody_can_go_on_from_is_said_to_be_one_and_all_is_sent(
        service: Service,
    ) {
        let a = facility(&service, "A", "UTC").await;
        let query = format!("facility_id={a}");
        let mut events = Events::open(&service, &query, None).await;
        let id = events.until("summary").await.id.expect("it has everything");
        let parts: Vec<&str> = id.splitn(4, '.').collect();
        let (epoch, generation, followed) = (parts[0], parts[1], parts[3]);
        for (last, reason) in [
            ("nonsense".to_owned(), "unknown"),
            (format!("{epoch}.{generation}.{}", parts[2]), "unknown"),
            (format!("0123456789abcdef.{generation}.1.{followed}"), "epoch"),
            (format!("{epoch}.12345.1.{followed}"), "trimmed"),
            (format!("{epoch}.{generation}.-5.{followed}"), "trimmed"),
            (format!("{epoch}.{generation}.99999999.{followed}"), "behind"),
            (format!("{epoch}.{generation}.{}.0", parts[2]), "facilities"),
        ] {
            let mut events = Events::open(&service, &query, Some(&last)).await;
            let subscribed = events.until("subscribed").await.data;
            assert_eq!(subscribed["resumed"], false, "{last}");
            assert_eq!(subscribed["reason"], reason, "{last}");
            assert_eq!(events.until("summary").await.data["summary"]["facility_id"], json!(a));
        }
    }

    async fn a_version_that_is_not_here_yet_is_not_replaced_by_an_older_one(service: Service) {
        let a = facility(&service, "A", "UTC").await;
        let bank = bank(&service, a).await;
        let unit = Uuid::new_v4();
        post(&service, &[inventory(unit, bank, "O+", 1)]).await;
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.subscribe(&[a]).await;
        let first = live.until("summary").await;
        let version = first["summary"]["version"].as_i64().unwrap();
        let date = first["summary"]["date"].as_str().unwrap();
        let ahead = format!("\"{date}.{}.00000000\"", version + 1);
        let (mut live, _) = Live::connect(&service, &[]).await;
        let known = json!({a.to_string(): ahead});
        live.send(json!({"type": "subscribe", "facilities": [a], "known": known})).await;
        live.until("subscribed").await;
        post(&service, &[inventory(unit, bank, "O+", 2)]).await;
        let next = live.until("summary").await;
        assert!(next["summary"]["version"].as_i64().unwrap() > version, "{next}");
    }
}

/// The backup has lower versions than the screens show.
#[tokio::test]
async fn a_restored_backup_is_said_and_the_screen_shows_its_figures() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let bank = bank(&service, a).await;
    let unit = Uuid::new_v4();
    post(&service, &[inventory(unit, bank, "O+", 1)]).await;
    let file = Path::new(service.database_url().strip_prefix("sqlite://").unwrap()).to_owned();
    let backup = file.with_extension("bak");
    sqlite3(&file, &format!(".backup '{}'", backup.display()));
    let (mut live, hello) = Live::connect(&service, &[]).await;
    live.subscribe(&[a]).await;
    let mut events = Events::open(&service, &format!("facility_id={a}"), None).await;
    for quantity in 2..9 {
        post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
    }
    while live.until("summary").await["summary"]["total_stock"] != 8 {}
    let mut id = None;
    while id.is_none() {
        let event = events.until("summary").await;
        id = event.id.filter(|_| event.data["summary"]["total_stock"] == 8);
    }
    sqlite3(&file, &format!(".restore '{}'", backup.display()));
    let epoch = live.until("epoch").await;
    assert_ne!(epoch["epoch"], hello["epoch"], "{epoch}");
    assert_eq!(live.until("summary").await["summary"]["total_stock"], 1);
    events.until("epoch").await;
    assert_eq!(events.until("summary").await.data["summary"]["total_stock"], 1);
    let query = format!("facility_id={a}");
    let mut back = Events::open(&service, &query, id.as_deref()).await;
    assert_eq!(back.until("subscribed").await.data["reason"], "epoch");
    assert_eq!(back.until("summary").await.data["summary"]["total_stock"], 1);
}

fn sqlite3(file: &Path, command: &str) {
    let done = Command::new("sqlite3")
        .args(["-cmd", ".timeout 20000"])
        .arg(file)
        .arg(command)
        .status()
        .expect("sqlite3 can be run");
    assert!(done.success(), "{command}");
}
