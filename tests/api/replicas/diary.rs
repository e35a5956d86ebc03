//! Every answer has each change that was acknowledged before the time that its `Age` claims.

use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::{set_stock, source, today};
use crate::{
    steps::{age, now_ms, read},
    support::{Service, site::Site, wait_until},
};

/// The longest time that an answer may take. It is far above the time-outs of a lost Redis, and far
/// below a wait without end.
pub const SWIFT: Duration = Duration::from_secs(2);

/// A stock that is counted up, and when each figure was acknowledged.
pub struct Diary {
    pub site: Site,
    item: Uuid,
    /// The figure is the index.
    acknowledged_ms: Vec<i64>,
}

impl Diary {
    pub async fn begin(service: &Service, zone: &str) -> Diary {
        Diary {
            site: Site::register(service, zone).await,
            item: Uuid::new_v4(),
            acknowledged_ms: vec![now_ms()],
        }
    }

    pub fn last(&self) -> i64 {
        self.acknowledged_ms.len() as i64 - 1
    }

    /// Counts up by one at this replica.
    pub async fn write(&mut self, replica: &Service) -> i64 {
        let next = self.acknowledged_ms.len() as i64;
        let started = Instant::now();
        let version = set_stock(replica, self.site, self.item, next).await;
        assert!(started.elapsed() < SWIFT, "an event took {:?}", started.elapsed());
        self.acknowledged_ms.push(now_ms());
        version
    }

    /// Reads, and compares the answer with what was acknowledged. Returns the tier that it came
    /// from.
    pub async fn check(&self, replica: &Service, directives: &str) -> String {
        let (asked_ms, started) = (now_ms(), Instant::now());
        let response = read(replica, &today(self.site), directives).await;
        assert!(started.elapsed() < SWIFT, "a read took {:?}", started.elapsed());
        assert_eq!(response.status(), 200, "{directives}");
        let (age, source) = (age(&response), source(&response));
        let exact_ms = asked_ms - 1000 * (age + 1);
        let body: Value = response.json().await.unwrap();
        let shown = body["total_stock"].as_i64().unwrap();
        let due =
            self.acknowledged_ms.iter().rposition(|at_ms| *at_ms <= exact_ms).unwrap_or_default();
        assert!(
            shown >= due as i64,
            "{source}, Age {age}, directives {directives:?}: {shown}, where {due} was \
             acknowledged {} ms ago",
            now_ms() - self.acknowledged_ms[due]
        );
        source
    }

    /// Writes at each replica in turn and reads at all of them for a while.
    pub async fn keep(&mut self, replicas: &[Service], time: Duration) {
        for replica in replicas {
            // A directory that was exact a moment ago may say that a new facility is not there.
            wait_until("the replica knows the facility", async || {
                read(replica, &today(self.site), "").await.status() == 200
            })
            .await;
        }
        let started = Instant::now();
        let mut turn = 0;
        while started.elapsed() < time {
            self.write(&replicas[turn % replicas.len()]).await;
            turn += 1;
            for replica in replicas {
                for directives in ["", "max-age=1", "max-age=60"] {
                    self.check(replica, directives).await;
                }
            }
        }
    }
}
