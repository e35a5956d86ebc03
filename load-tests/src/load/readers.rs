//! Reads and refreshes: one after the other, each path once, or all at the same time.

use std::{sync::Arc, time::Instant};

use tokio::sync::Mutex;

use crate::{
    Arguments, Failure,
    connection::{Connection, request},
    events::id,
    quantile_ms,
};

/// Refreshes one facility's today again and again, without other load.
pub async fn refresh(arguments: &Arguments) -> Result<String, Failure> {
    let path = format!("/v1/facilities/{}/refresh", id(1, arguments.number("facility")?));
    let mut connection = Connection::open(arguments.text("address")?).await?;
    let mut latencies = Vec::new();
    for _ in 0..arguments.number("times")? {
        let asked = Instant::now();
        let answer = connection.post(&path, "application/json", b"").await?;
        latencies.push(asked.elapsed());
        if answer.status != 200 {
            return Err(format!(
                "{path} was answered {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )
            .into());
        }
    }
    latencies.sort_unstable();
    Ok(format!(
        "p50_ms={:.3} p90_ms={:.3} min_ms={:.3}",
        quantile_ms(&latencies, 0.5),
        quantile_ms(&latencies, 0.9),
        quantile_ms(&latencies, 0.0)
    ))
}

/// Visits each path once. Prints the mean length of the bodies.
pub async fn visit(arguments: &Arguments) -> Result<String, Failure> {
    let file = arguments.text("paths")?;
    let paths: Vec<String> = std::fs::read_to_string(file)
        .map_err(|error| format!("{file}: {error}"))?
        .lines()
        .map(str::to_owned)
        .collect();
    let count = paths.len();
    let paths = Arc::new(Mutex::new(paths.into_iter()));
    let address = arguments.text("address")?.to_owned();
    let clients: Vec<_> = (0..arguments.number("connections")?)
        .map(|_| {
            let (paths, address) = (paths.clone(), address.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await?;
                let mut bytes = 0;
                loop {
                    let Some(path) = paths.lock().await.next() else {
                        return Ok::<usize, Failure>(bytes);
                    };
                    let answer = connection.get(&path).await?;
                    if answer.status != 200 {
                        return Err(format!(
                            "{path} was answered {}: {}",
                            answer.status,
                            String::from_utf8_lossy(&answer.body)
                        )
                        .into());
                    }
                    bytes += answer.body.len();
                }
            })
        })
        .collect();
    let mut bytes = 0;
    for client in clients {
        bytes += client.await??;
    }
    Ok(format!("paths={count} body_bytes={:.1}", bytes as f64 / count.max(1) as f64))
}

/// Opens all connections, then asks on all of them before it reads any answer.
pub async fn stampede(arguments: &Arguments) -> Result<String, Failure> {
    let (address, path) = (arguments.text("address")?, arguments.text("path")?);
    let mut connections = Vec::new();
    for _ in 0..arguments.number("readers")? {
        connections.push(Connection::open(address).await?);
    }
    let request = request("GET", path, "", b"");
    for connection in &mut connections {
        connection.send(&request).await?;
    }
    println!("sent");
    std::io::stdin().read_line(&mut String::new())?;
    let released = Instant::now();
    let mut answered = 0;
    for connection in &mut connections {
        let answer = connection.answer().await?;
        answered += usize::from(answer.status == 200);
    }
    Ok(format!(
        "answered={answered} of={} ms={:.0}",
        connections.len(),
        released.elapsed().as_secs_f64() * 1000.0
    ))
}
