//! A facility with a blood bank, and its figures as a reader sees them.

use jiff::{Timestamp, civil::Date};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Service, events::event, wait_until};

/// A facility registered with a service.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub facility: Uuid,
    pub bank: Uuid,
}

impl Site {
    /// Registers a facility in this zone, and a blood bank in it.
    pub async fn register(service: &Service, timezone: &str) -> Site {
        let site = Site { facility: Uuid::new_v4(), bank: Uuid::new_v4() };
        let facility = json!({"name": format!("Site {}", site.facility), "timezone": timezone});
        let answer = service.put(&format!("/v1/facilities/{}", site.facility), &facility).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
        let bank = json!({"facility_id": site.facility, "name": "Ward"});
        assert_eq!(
            service.put(&format!("/v1/blood-banks/{}", site.bank), &bank).await.status(),
            200
        );
        site
    }

    /// A summary; `date` may be `today`.
    pub async fn summary(&self, service: &Service, date: &str) -> Value {
        let answer =
            service.get(&format!("/v1/facilities/{}/summaries/{date}", self.facility)).await;
        let status = answer.status();
        let body: Value = answer.json().await.expect("it is JSON");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Waits until today's (stock, transferred, requests) are these, for readers without
    /// directives.
    #[track_caller]
    pub fn shows(&self, service: &Service, figures: (i64, i64, i64)) -> impl Future<Output = ()> {
        self.shows_on(service, "today", figures)
    }

    /// Waits until the figures of any day are these. A replica that was exact a moment ago may say
    /// that a new facility is not there.
    #[track_caller]
    pub fn shows_on(
        &self,
        service: &Service,
        date: &str,
        figures: (i64, i64, i64),
    ) -> impl Future<Output = ()> {
        let (site, what) = (*self, format!("{date} of {} shows {figures:?}", self.facility));
        async move {
            wait_until(&what, async || {
                let path = format!("/v1/facilities/{}/summaries/{date}", site.facility);
                let answer = service.get(&path).await;
                if answer.status() == 404 {
                    return false;
                }
                assert_eq!(answer.status(), 200, "{path}");
                let s: Value = answer.json().await.expect("it is JSON");
                (
                    s["total_stock"].as_i64().unwrap_or(0),
                    s["total_transferred"] == figures.1,
                    s["total_requests"] == figures.2,
                ) == (figures.0, true, true)
            })
            .await;
        }
    }

    /// An event that sets the stock of one item.
    pub fn stock(&self, item: Uuid, quantity: i64) -> Value {
        event(
            "inventory.set",
            json!({"inventory_id": item, "blood_bank_id": self.bank, "quantity": quantity}),
        )
    }

    /// An event that makes a request at an instant.
    pub fn request(&self, id: Uuid, created_at: Timestamp) -> Value {
        event(
            "request.set",
            json!({
                "request_id": id,
                "facility_id": self.facility,
                "created_at": created_at.to_string(),
            }),
        )
    }
}

/// Posts one event and asserts that it is acknowledged.
pub async fn acknowledged(service: &Service, event: &Value) -> Value {
    let answer = service.post("/v1/events", event).await;
    let status = answer.status();
    let body: Value = answer.json().await.expect("it is JSON");
    assert_eq!(status, 200, "{body}");
    body
}

/// A zone in which it is about noon now, so that no midnight comes during the test, and the date
/// there.
pub fn a_zone_at_noon() -> (String, Date) {
    let hour = Timestamp::now().as_second().rem_euclid(86_400) / 3600;
    let east = 12 - hour; // hours ahead of UTC; the names have it the other way round
    let name = if east == 0 {
        "Etc/GMT".to_owned()
    } else {
        format!("Etc/GMT{}{}", if east > 0 { '-' } else { '+' }, east.abs())
    };
    let today =
        Timestamp::now().to_zoned(jiff::tz::TimeZone::get(&name).expect("the zone exists")).date();
    (name, today)
}

/// A counter or gauge without labels.
pub async fn metric(service: &Service, name: &str) -> f64 {
    let text = service.get("/metrics").await.text().await.expect("it is text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().expect("it is a number")
}

/// Asks for a full rebuild and waits until it is done; returns the run.
pub async fn rebuild(service: &Service) -> Value {
    let answer = service
        .request(reqwest::Method::POST, "/v1/rebuild")
        .send()
        .await
        .expect("the service answers");
    assert_eq!(answer.status(), 202);
    let run = answer.headers()["location"].to_str().expect("it is a path").to_owned();
    let mut last = Value::Null;
    wait_until("the rebuild has ended", async || {
        last = service.get(&run).await.json().await.expect("it is JSON");
        last["state"] != "waiting" && last["state"] != "running"
    })
    .await;
    last
}

/// Asserts that the audit command, which recomputes everything, finds nothing.
#[track_caller]
pub fn audited(launch: &super::service::Launch) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let launch = launch.clone();
    async move {
        let exited = launch.run(&["audit"]).await;
        assert_eq!(exited.code, Some(0), "{caller}: {}", exited.output);
    }
}
