//! Bad input gets a clear answer and is not applied. The answer has a status, and says what was
//! wrong and what would be right.

mod commands;
mod events;
mod raw;
pub mod raw_http;
mod requests;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Service, events::event, problem::problem};

/// One facility with one blood bank that holds twelve units, and the summary that must not change.
struct World {
    facility: Uuid,
    bank: Uuid,
    inventory: Uuid,
    before: String,
}

impl World {
    async fn new(service: &Service) -> World {
        let (facility, bank, inventory) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let registered = [
            event(
                "facility.registered",
                json!({"facility_id": facility, "name": "Szpital", "timezone": "Europe/Warsaw"}),
            ),
            event(
                "blood_bank.registered",
                json!({"blood_bank_id": bank, "facility_id": facility, "name": "Ward 3"}),
            ),
            event(
                "inventory.set",
                json!({
                    "inventory_id": inventory,
                    "blood_bank_id": bank,
                    "blood_type": "O+",
                    "quantity": 12,
                }),
            ),
        ];
        for event in registered {
            let answer = service.post("/v1/events", &event).await;
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        }
        let mut world = World { facility, bank, inventory, before: String::new() };
        world.before = world.summary(service).await;
        assert!(world.before.contains("\"total_stock\":12"), "{}", world.before);
        world
    }

    fn today(&self) -> String {
        format!("/v1/facilities/{}/summaries/today", self.facility)
    }

    /// The summary, computed anew from the source.
    async fn summary(&self, service: &Service) -> String {
        let fresh =
            service.post(&format!("/v1/facilities/{}/refresh", self.facility), &Value::Null).await;
        assert_eq!(fresh.status(), 200);
        fresh.text().await.expect("the body arrives")
    }

    async fn assert_unchanged(&self, service: &Service) {
        assert_eq!(self.summary(service).await, self.before);
        let facilities: Value = service.get("/v1/facilities").await.json().await.expect("JSON");
        assert_eq!(facilities["items"].as_array().map(Vec::len), Some(1), "{facilities}");
    }

    /// An event without a fault.
    fn stock(&self, quantity: impl Into<Value>) -> Value {
        let quantity: Value = quantity.into();
        event(
            "inventory.set",
            json!({
                "inventory_id": self.inventory,
                "blood_bank_id": self.bank,
                "blood_type": "O+",
                "quantity": quantity,
            }),
        )
    }
}

/// Asserts the status, and that the whole problem says each of these words.
async fn says(response: reqwest::Response, status: u16, words: &[&str]) -> Value {
    let body = problem(response, status).await;
    let text = body.to_string();
    assert!(
        words.iter().all(|word| text.contains(&word.replace('"', "\\\""))),
        "{words:?} not in {text}"
    );
    for leak in ["sqlx", "SQLITE", "relation", "src/", "panicked"] {
        assert!(!text.contains(leak), "{leak:?} in {text}");
    }
    body
}
