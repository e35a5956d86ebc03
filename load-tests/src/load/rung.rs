//! What the Redis tier adds to a read, compared with a bare GET of the same payload.

use std::time::{Duration, Instant};

use redis::AsyncTypedCommands;

use crate::{Arguments, Failure, connection::Connection, quantile_ms};

/// Measures in turn a read that memory answers, one that Redis answers, and a bare GET, so that all
/// three run under the same conditions.
pub async fn measure(arguments: &Arguments) -> Result<String, Failure> {
    // Runs on the threads of the runtime, like the service's own reads of Redis.
    let (address, other) =
        (arguments.text("address")?.to_owned(), arguments.text("redis")?.to_owned());
    let (path, server) = (arguments.text("path")?.to_owned(), arguments.text("server")?.to_owned());
    let (key, times) = (arguments.text("key")?.to_owned(), arguments.number("times")?);
    tokio::spawn(async move {
        let (mut memory, mut redis) =
            (Connection::open(&address).await?, Connection::open(&other).await?);
        let mut bare = redis::Client::open(server)?.get_multiplexed_async_connection().await?;
        let payload: Vec<u8> = redis::cmd("HGET").arg(&key).arg("b").query_async(&mut bare).await?;
        bare.set("bench:payload", &payload).await?;
        let mut taken: [Vec<Duration>; 3] = Default::default();
        let mut elsewhere = 0;
        for _ in 0..times {
            for (place, (connection, rung)) in
                [(&mut memory, "detail=memory"), (&mut redis, "detail=redis")]
                    .into_iter()
                    .enumerate()
            {
                match read(connection, &path, rung).await? {
                    Some(time) => taken[place].push(time),
                    None => elsewhere += 1,
                }
            }
            let asked = Instant::now();
            let found: Vec<u8> =
                redis::cmd("GET").arg("bench:payload").query_async(&mut bare).await?;
            taken[2].push(asked.elapsed());
            if found.len() != payload.len() {
                return Err::<String, Failure>("the bare GET brought another payload".into());
            }
        }
        let mut line = format!("bytes={} elsewhere={elsewhere}", payload.len());
        for (name, times) in ["memory", "redis", "get"].iter().zip(&mut taken) {
            times.sort_unstable();
            for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
                line += &format!(" {name}_{label}_us={:.1}", quantile_ms(times, quantile) * 1000.0);
            }
        }
        Ok(line)
    })
    .await?
}

/// `None` if another tier answered: on a busy machine Redis may take longer than the service waits.
async fn read(
    connection: &mut Connection,
    path: &str,
    rung: &str,
) -> Result<Option<Duration>, Failure> {
    let asked = Instant::now();
    let answer = connection.get(path).await?;
    let taken = asked.elapsed();
    if answer.status != 200 {
        return Err(format!("{path} was answered {}", answer.status).into());
    }
    Ok(answer.header("cache-status").is_some_and(|status| status.contains(rung)).then_some(taken))
}
