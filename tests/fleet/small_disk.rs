//! A disk that gets full under SQLite: a real file system of a few megabytes, in a mount namespace of its own, which goes with whoever
//! holds it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    site::{Site, a_zone_at_noon, audited},
    wait_until,
};

/// Room for the database and its log, and for some seconds of events.
const MEGABYTES: u32 = 8;

/// A file system of its own at a folder, for the processes in its namespace.
struct SmallDisk {
    folder: TempDir,
    holder: Child,
}

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made under target");
        let script = format!("mount -t tmpfs -o size={MEGABYTES}m none \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(folder.path())
            .stdin(Stdio::piped()) // it ends with whoever holds the other end
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        let output = holder.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it is text");
        assert_eq!(line.trim(), "mounted", "no file system can be mounted in a namespace of one's own; the complaint is above");
        SmallDisk { folder, holder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The same folder, for those outside.
    fn seen_from_outside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.path().display()))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let block = vec![0; 4096];
        let mut ballast = std::fs::File::create(self.seen_from_outside().join("ballast")).expect("a file can be made");
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.seen_from_outside().join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = (self.holder.kill(), self.holder.wait()); // nobody to tell
    }
}

#[tokio::test]
async fn on_a_full_disk_events_are_refused_wholly_and_figures_are_served() {
    let disk = SmallDisk::new();
    let url = format!("sqlite://{}/facility-summary.db", disk.path().display());
    let service = Service::on(url).inside(disk.holder.id()).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut acknowledged = 0;
    // One request of two events, of which both are applied or neither is; whether they were.
    let post = async |number: u128| {
        let stock = event("inventory.set", json!({"inventory_id": Uuid::from_u128(1 + number), "blood_bank_id": site.bank, "quantity": 1}));
        let events = json!([stock, site.request(Uuid::from_u128(1 + number), jiff::Timestamp::now())]);
        let request = service.request(reqwest::Method::POST, "/v1/events").header("content-type", "application/cloudevents-batch+json");
        let answer = request.body(events.to_string()).send().await.expect("the service answers");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("it is text"));
        assert!(status == 200 || status == 503 && text.contains("Nothing "), "events were answered {status}: {text}");
        status == 200
    };
    for number in 0..50 {
        assert!(post(number).await, "there is room");
        acknowledged += 1;
    }
    disk.fill();
    let (mut number, mut refused) = (50, 0);
    wait_until("the disk is full", async || {
        number += 1;
        let is_taken = post(number).await;
        (acknowledged, refused) = (acknowledged + i64::from(is_taken), refused + u32::from(!is_taken));
        refused >= 20
    })
    .await;
    let shown = site.summary(&service, "today").await;
    assert_eq!((shown["total_stock"].as_i64(), shown["total_requests"].as_i64()), (Some(acknowledged), Some(acknowledged)));
    disk.make_room();
    wait_until("events are taken again", async || {
        number += 1;
        let is_taken = post(number).await;
        acknowledged += i64::from(is_taken);
        is_taken
    })
    .await;
    site.shows(&service, (acknowledged, 0, acknowledged)).await;
    audited(service.launch()).await;
    let again = service.kill_9().await.start().await;
    site.shows(&again, (acknowledged, 0, acknowledged)).await;
}
