//! The audit log: who has changed what, in the transaction that did it.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{asked, get_as, key_of, signed_in, site};
use crate::{
    on_both_stores,
    steps::{batch, now_ms, post, request},
    support::{Service, events::event, wait_until},
};

/// The entries that fit the query, the newest first.
async fn entries(service: &Service, query: &str) -> Vec<Value> {
    let log = service.get(&format!("/v1/audit-log?limit=500&{query}")).await;
    let (status, log) = (log.status(), log.json::<Value>().await.unwrap());
    assert_eq!(status, 200, "{log}");
    log["items"].as_array().unwrap().clone()
}

async fn of_subject(service: &Service, subject: impl std::fmt::Display) -> Vec<Value> {
    entries(service, &format!("subject={subject}")).await
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

async fn put(service: &Service, path: String, body: Value) {
    let answer = service.put(&path, &body).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

on_both_stores! {
    async fn what_is_registered_is_noted_once_with_what_it_was_before(launch: Launch) {
        let service = signed_in(launch).await;
        let me: Value = service.get("/v1/auth/me").await.json().await.unwrap();
        let (id, bank) = (Uuid::new_v4(), Uuid::new_v4());
        let facility = |name: &str, zone: &str| {
            (format!("/v1/facilities/{id}"), json!({"name": name, "timezone": zone}))
        };
        for (name, zone) in [
            ("Ward", "Etc/UTC"),
            ("Ward", "Etc/UTC"), // nothing new
            ("Ward 3", "Etc/UTC"),
            ("Ward 3", "Europe/Warsaw"),
        ] {
            let (path, body) = facility(name, zone);
            put(&service, path, body).await;
        }
        let noted = of_subject(&service, id).await;
        assert_eq!(
            actions(&noted),
            ["facility.changed", "facility.changed", "facility.registered"],
            "{noted:?}"
        );
        for entry in &noted {
            assert_eq!((&entry["actor"], &entry["address"]), (&me["id"], &json!("127.0.0.1")));
        }
        assert_eq!(
            noted[0]["detail"],
            json!({
                "before": {"name": "Ward 3", "timezone": "Etc/UTC"},
                "now": {"name": "Ward 3", "timezone": "Europe/Warsaw"},
            })
        );
        assert_eq!(noted[2]["detail"]["before"], Value::Null);
        let other = site(&service, "Other").await;
        for of in [id, id, other.facility] {
            let body = json!({"facility_id": of, "name": "Bank"});
            put(&service, format!("/v1/blood-banks/{bank}"), body).await;
        }
        let noted = of_subject(&service, bank).await;
        assert_eq!(actions(&noted), ["blood_bank.changed", "blood_bank.registered"]);
        assert_eq!(noted[0]["detail"]["before"]["facility_id"], json!(id));
        assert_eq!(noted[0]["detail"]["now"]["facility_id"], json!(other.facility));
        let line = |line: &Value| line["subject"] == json!(bank.to_string());
        let logged = || service.logged("noted in the audit log").iter().filter(|l| line(l)).count();
        wait_until("the log has it, too", async || logged() == 2).await;
    }

    async fn events_that_register_are_noted_and_others_and_refused_ones_are_not(launch: Launch) {
        let service = signed_in(launch).await;
        let own = site(&service, "Own").await;
        let operator = key_of(&service, "operator", &[own.facility]).await;
        let poster = key_of(&service, "service", &[]).await;
        let count = async || entries(&service, "").await.len();
        let before = count().await;
        let new = Uuid::new_v4();
        let registered = |id: Uuid, name: &str| {
            let data = json!({"facility_id": id, "name": name, "timezone": "Etc/UTC"});
            event("facility.registered", data)
        };
        post(&service, &[request(Uuid::new_v4(), own.facility, now_ms())]).await;
        let refused = [
            (operator.as_str(), vec![registered(new, "Taken")], 403),
            // The second one is of a facility that nobody knows, so neither is applied.
            (
                poster.as_str(),
                vec![registered(new, "New"), request(Uuid::new_v4(), Uuid::new_v4(), now_ms())],
                422,
            ),
        ];
        for (key, events, status) in refused {
            let answer = service
                .request_as(Some(key), Method::POST, "/v1/events")
                .header("content-type", "application/cloudevents-batch+json")
                .body(serde_json::to_string(&events).unwrap());
            assert_eq!(answer.send().await.unwrap().status(), status);
        }
        assert_eq!(count().await, before, "figures, and what was refused, are not noted");
        let many: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
        let events: Vec<Value> = many.iter().map(|id| registered(*id, "Many")).collect();
        let answer = batch(&service, &events).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let noted = entries(&service, "action=facility.registered").await;
        let subjects: Vec<&Value> = noted.iter().take(50).map(|entry| &entry["subject"]).collect();
        assert!(many.iter().rev().map(|id| json!(id)).eq(subjects.into_iter().cloned()));
        assert_eq!(count().await, before + 50);
    }

    async fn rebuilds_and_imports_are_noted_with_who_began_them(launch: Launch) {
        let service = signed_in(launch).await;
        let me: Value = service.get("/v1/auth/me").await.json().await.unwrap();
        let run: Value = service.post("/v1/rebuild", &json!({})).await.json().await.unwrap();
        let noted = of_subject(&service, run["run_id"].as_str().unwrap()).await;
        assert_eq!(actions(&noted), ["rebuild.requested"]);
        assert_eq!(noted[0]["actor"], me["id"]);
        wait_until("the rebuild has ended", async || {
            let path = format!("/v1/runs/{}", run["run_id"].as_str().unwrap());
            get_as_admin(&service, &path).await["state"] == "done"
        })
        .await;
        let launch = service.launch();
        let by_command = launch.run(&["rebuild", "--days=1"]).await;
        assert_eq!(by_command.code, Some(0), "{}", by_command.output);
        let noted = entries(&service, "action=rebuild.requested").await;
        assert_eq!(noted.len(), 2);
        let actor = noted[0]["actor"].as_str().unwrap().to_owned();
        assert!(actor.starts_with("command:"), "{actor}");
        assert_eq!(noted[0]["address"], Value::Null);
        let file = launch.folder().join("f.csv");
        std::fs::write(&file, "name\nNorth\nSouth\n").unwrap();
        let file = file.to_str().unwrap();
        let words = ["import", "facilities", file, "--columns=name=name", "--source=f"];
        let imported = launch.run(&words).await;
        assert_eq!(imported.code, Some(0), "{}", imported.output);
        let undone = launch.run(&["import", "undo", "1"]).await;
        assert_eq!(undone.code, Some(0), "{}", undone.output);
        let noted: Vec<Value> = of_subject(&service, "1").await;
        assert_eq!(
            actions(&noted),
            ["import.undone", "import.undo_begun", "import.finished", "import.begun"]
        );
        assert_eq!(noted[2]["detail"]["rows_in"], 2, "{noted:?}");
        assert!(noted.iter().all(|entry| entry["actor"] == json!(actor)), "{noted:?}");
    }

    async fn the_log_is_read_by_who_what_and_whom(launch: Launch) {
        let service = signed_in(launch).await;
        let sites = [site(&service, "A").await, site(&service, "B").await];
        let second = key_of(&service, "admin", &[]).await;
        let id = format!("key:{}", second.split('_').nth(1).unwrap());
        for name in ["C", "D", "E"] {
            let path = format!("/v1/facilities/{}", sites[0].facility);
            let changed = service
                .request_as(Some(&second), Method::PUT, &path)
                .json(&json!({"name": name, "timezone": "Etc/UTC"}));
            assert_eq!(changed.send().await.unwrap().status(), 200);
        }
        let of = sites[0].facility;
        for (query, expected) in [
            (format!("actor={id}"), 3),
            (format!("subject={of}"), 4),
            (format!("subject={of}&actor={id}"), 3),
            (format!("subject={of}&action=facility.registered"), 1),
            (format!("action=facility.changed&actor={id}"), 3),
            (format!("action=facility.registered&actor={id}"), 0),
            ("action=facility.registered".to_owned(), 2),
            ("action=facility".to_owned(), 0),
            (format!("subject={of}&action=facility.changed&actor={id}"), 3),
            (format!("subject={}&actor={id}", sites[1].facility), 0),
        ] {
            assert_eq!(entries(&service, &query).await.len(), expected, "{query}");
        }
        // Page by page, the same.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/audit-log?limit=1&subject={of}{cursor}");
            let page = get_as_admin(&service, &path).await;
            seen.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, of_subject(&service, of).await);
        for query in ["action=", "actor=%00", "subject=a%0Ab", "who=me", "actor=a&actor=b"] {
            let refused = service.get(&format!("/v1/audit-log?{query}")).await;
            assert_eq!(refused.status(), 400, "{query}");
        }
        let viewer = key_of(&service, "viewer", &[]).await;
        assert_eq!(get_as(&service, &viewer, "/v1/audit-log?action=key.added").await.0, 403);
        let path = "/v1/audit-log?actor=x";
        assert_eq!(asked(&service, None, Method::GET, path).await.status(), 401);
    }
}

async fn get_as_admin(service: &Service, path: &str) -> Value {
    service.get(path).await.json().await.unwrap()
}

/// The lines of all files below a folder that name the table of the log, with their files.
fn lines_about_the_log(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines_about_the_log(&path, found);
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let lines = text.lines().filter(|line| line.contains("access_log"));
        found.extend(lines.map(|line| (path.display().to_string(), line.trim().to_owned())));
    }
}

#[test]
fn no_statement_changes_an_entry_and_only_their_age_ends_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "sql", "migrations"] {
        lines_about_the_log(&root.join(folder), &mut found);
    }
    assert!(found.len() > 10, "{found:?}");
    // This one has the trigger that refuses changes.
    found.retain(|(file, _)| !file.ends_with("0018_audit_log.sql"));
    for (file, line) in &found {
        let is_known = [
            "INSERT INTO access_log ",
            "FROM access_log",
            "CREATE TABLE access_log ",
            "ON access_log ",
        ];
        assert!(is_known.iter().any(|known| line.contains(known)), "{file}: {line}");
        assert!(!line.to_uppercase().contains("UPDATE"), "{file}: {line}");
        let deletes = line.contains("DELETE");
        assert!(!deletes || line.contains("WHERE at_ms < $1"), "{file}: {line}");
    }
    let deletes = found.iter().filter(|(_, line)| line.contains("DELETE")).count();
    assert_eq!(deletes, 2, "one of each store: {found:?}");
}
