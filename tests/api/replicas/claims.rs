//! Compares answers with what they claim: a write that was over before the instant of the claim
//! must be in the answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    steps::{age, header, now_ms, read},
    support::Service,
};

/// The time that a busy machine may take between a commit and the return to its writer.
const SLACK_MS: i64 = 100;
/// Within this time a replica must give an answer that claims to be exact as of a recent write.
const SOON: Duration = Duration::from_secs(10);

/// An answer that claims to be exact as of a given instant.
pub struct Claim {
    pub status: u16,
    pub body: Value,
    /// For the message of a failure.
    pub told: String,
}

/// Reads until an answer claims to be exact as of `since_ms` or later, and returns it. A 404 has no
/// such claim, except for a `no-cache` request.
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
                "{caller}: no answer claims to have the write: {told}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
