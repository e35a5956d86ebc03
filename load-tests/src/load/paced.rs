//! Load at an offered rate. Users do not wait for the service to recover before they ask again.
//!
//! Each connection asks at fixed instants. A connection that still waits for an answer at such an
//! instant does not ask. The latencies count this request all the same, as if it had been sent at
//! its instant and answered together with the one before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    Arguments, Failure,
    connection::{Answer, Connection, request},
    events::set_lot,
    quantile_ms,
};

/// After this time a request counts as hanging, and its connection is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the paths in turn; reports how many were answered with 200, and how long they took.
pub async fn reads(arguments: &Arguments) -> Result<String, Failure> {
    let file = arguments.text("paths")?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let requests: Arc<Vec<Vec<u8>>> =
        Arc::new(text.lines().map(|path| request("GET", path, "", b"")).collect());
    let asked =
        ask(arguments, move |number| requests[number * 7919 % requests.len()].clone()).await?;
    let answered = asked
        .iter()
        .filter(|one| matches!(&one.answer, Some(answer) if answer.status == 200))
        .count();
    Ok(format!(
        "asked={} answered={answered} {}",
        asked.len(),
        latencies(asked.into_iter().flat_map(|one| one.taken).collect())
    ))
}

/// Posts events; reports how many were applied, how many were refused with 503 and `Retry-After`,
/// and how many ended otherwise.
pub async fn writes(arguments: &Arguments) -> Result<String, Failure> {
    let facility = arguments.number("facility")?;
    let asked = ask(arguments, move |number| {
        let body = set_lot(1_000_000 * (facility + number) + facility - 1, 1_000_000, number % 40);
        request(
            "POST",
            "/v1/events",
            "content-type: application/cloudevents+json\r\n",
            body.as_bytes(),
        )
    })
    .await?;
    let count = |of: fn(&Answer) -> bool| {
        asked.iter().filter(|one| one.answer.as_ref().is_some_and(of)).count()
    };
    let applied = count(|answer| answer.status == 200);
    let refused = count(|answer| answer.status == 503 && answer.header("retry-after").is_some());
    let hung = asked.iter().filter(|one| one.answer.is_none()).count();
    Ok(format!(
        "asked={} applied={applied} refused={refused} hung={hung} other={} {}",
        asked.len(),
        asked.len() - applied - refused - hung,
        latencies(asked.into_iter().filter_map(|one| one.taken.first().copied()).collect())
    ))
}

/// One request, and its answer unless it hung.
struct Asked {
    /// How long it took, and how long the requests would have taken that could not be sent
    /// meanwhile.
    taken: Vec<Duration>,
    answer: Option<Answer>,
}

async fn ask(
    arguments: &Arguments,
    request: impl Fn(usize) -> Vec<u8> + Clone + Send + 'static,
) -> Result<Vec<Asked>, Failure> {
    let address = arguments.text("address")?.to_owned();
    let (connections, every) = (
        arguments.number("connections")?,
        Duration::from_millis(arguments.number("every_ms")? as u64),
    );
    let until = Instant::now() + Duration::from_secs(arguments.number("seconds")? as u64);
    let clients: Vec<_> = (0..connections)
        .map(|number| {
            // Spread evenly, so that the connections do not send at the same instants.
            let first = Instant::now() + every * number as u32 / connections as u32;
            let (address, request) = (address.clone(), request.clone());
            tokio::spawn(client(address, first, every, until, move |turn| {
                request(number + turn * connections)
            }))
        })
        .collect();
    let mut asked = Vec::new();
    for client in clients {
        asked.extend(client.await??);
    }
    Ok(asked)
}

async fn client(
    address: String,
    first: Instant,
    every: Duration,
    until: Instant,
    request: impl Fn(usize) -> Vec<u8>,
) -> Result<Vec<Asked>, Failure> {
    let mut connection = Connection::open(&address).await?;
    let (mut asked, mut due) = (Vec::new(), first);
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        let sent = Instant::now(); // after the timer, so that its delay does not count
        connection.send(&request(asked.len())).await?;
        let answer = timeout(PATIENCE, connection.answer()).await;
        let now = Instant::now();
        if answer.is_err() {
            connection = Connection::open(&address).await?;
        }
        let mut taken = vec![now - sent];
        due += every;
        while due < now {
            taken.push(now - due);
            due += every;
        }
        asked.push(Asked { taken, answer: answer.ok().transpose()? });
    }
    Ok(asked)
}

fn latencies(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| quantile_ms(&times, quantile));
    format!("p50_ms={p50:.2} p99_ms={p99:.2} max_ms={max:.1}")
}
