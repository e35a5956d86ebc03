//! Answers held against what they claim: what was over before the instant that an answer says to be
//! exact as of is in it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    steps::{age, header, now_ms, read},
    support::Service,
};

/// What a busy machine may put between a commit and its writer's knowledge of it.
const SLACK_MS: i64 = 100;
/// An answer that claims to be exact as of a recent write is to be had within that.
const SOON: Duration = Duration::from_secs(10);

/// An answer that is exact as of a given instant, as it says itself.
pub struct Claim {
    pub status: u16,
    pub body: Value,
    /// For whoever reads a failure.
    pub told: String,
}

/// Reads, and answers the first answer that claims to be exact as of `since_ms` or later. A 404
/// claims nothing, unless it was asked for afresh.
#[track_caller]
pub fn claimed(
    replica: &Service,
    path: &str,
    directives: &str,
    since_ms: i64,
) -> impl Future<Output = Claim> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            let asked_ms = now_ms();
            let response = read(replica, path, directives).await;
            let (status, source) = (response.status().as_u16(), header(&response, "cache-status"));
            let exact_ms = match status {
                200 | 404 if directives == "no-cache" => asked_ms,
                200 => asked_ms - 1000 * (age(&response) + 1),
                _ => i64::MIN,
            };
            let told = format!(
                "{path} with {directives:?} was answered {status} by {source:?}, exact {} ms \
                 after the write",
                exact_ms.saturating_sub(since_ms)
            );
            if exact_ms >= since_ms + SLACK_MS {
                let body = response.json().await.unwrap();
                return Claim { status, body, told };
            }
            assert!(
                started.elapsed() < SOON,
                "{caller}: nobody claims to know of the write: {told}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
