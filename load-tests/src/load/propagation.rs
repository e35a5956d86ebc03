//! How long it takes until an event at one replica is in the memory of another.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{
    Arguments, Failure,
    connection::Connection,
    events::{id, set_lot},
    quantile_ms,
};

/// The time between two looks at the other replica. The result is too long by at most this and the
/// timer's slack.
const LOOK_EVERY: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(10);

/// The last version seen, and when it was seen first.
type Seen = (u64, Instant);

/// Sets a lot at `address` and looks at `to` meanwhile, one event after the other.
pub async fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let facility = arguments.number("facility")?;
    let mut writer = Connection::open(arguments.text("address")?).await?;
    let reader = Connection::open(arguments.text("to")?).await?;
    let (tell, mut seen) = watch::channel((0, Instant::now()));
    let looking = tokio::spawn(look(
        reader,
        format!("/v1/facilities/{}/summaries/today", id(1, facility)),
        tell,
    ));
    let (mut from_sent, mut from_answered, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..arguments.number("times")? {
        // The lot is in bank `facility`. Each event sets another quantity, so that the figures
        // change. The pauses are not a multiple of the drain's interval.
        let body = set_lot(1_000_000 * facility + facility - 1, 1_000_000, number + 1);
        let sent = Instant::now();
        let answer =
            writer.post("/v1/events", "application/cloudevents+json", body.as_bytes()).await?;
        let acknowledged = Instant::now();
        let text = String::from_utf8_lossy(&answer.body);
        let version = version(&text)
            .filter(|_| answer.status == 200)
            .ok_or_else(|| format!("the event was answered {}: {text}", answer.status))?;
        let waited =
            tokio::time::timeout(PATIENCE, seen.wait_for(|(seen, _)| *seen >= version)).await;
        let at =
            waited.map_err(|_| format!("version {version} was not seen within {PATIENCE:?}"))??.1;
        from_sent.push(at.saturating_duration_since(sent));
        from_answered.push(at.saturating_duration_since(acknowledged));
        answered.push(acknowledged - sent);
        tokio::time::sleep(Duration::from_millis(5 + (number as u64 * 7) % 11)).await;
    }
    looking.abort();
    let mut line = format!("times={}", answered.len());
    for (name, mut times) in
        [("sent", from_sent), ("answered", from_answered), ("answer", answered)]
    {
        times.sort_unstable();
        for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
            line += &format!(" {name}_{label}_ms={:.1}", quantile_ms(&times, quantile));
        }
    }
    Ok(line)
}

/// Reads for ever, from memory only. A read that went elsewhere would itself bring the change into
/// memory.
async fn look(
    mut reader: Connection,
    path: String,
    tell: watch::Sender<Seen>,
) -> Result<(), Failure> {
    loop {
        let answer = reader.get(&path).await?;
        let at = Instant::now();
        let from_memory = answer.status == 200
            && answer.header("cache-status").is_some_and(|status| status.contains("detail=memory"));
        if let Some(version) =
            version(&String::from_utf8_lossy(&answer.body)).filter(|_| from_memory)
        {
            tell.send_if_modified(|seen| {
                let newer = version > seen.0;
                if newer {
                    *seen = (version, at);
                }
                newer
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The version in a summary, or in the answer to an event.
fn version(body: &str) -> Option<u64> {
    let rest = body.split_once("\"version\":")?.1.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
