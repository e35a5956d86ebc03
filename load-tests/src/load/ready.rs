//! The time from the start of a process to its first 200 from `/health/ready`.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Arguments, Failure, connection::Connection, quantile_ms};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the command `times` times, one after the other, and ends it each time.
pub async fn measure(arguments: &Arguments, command: &[String]) -> Result<String, Failure> {
    let address = arguments.text("address")?;
    let [program, rest @ ..] = command else {
        return Err("a command is expected behind --".into());
    };
    let mut times = Vec::new();
    for _ in 0..arguments.number("times")? {
        let started = Instant::now();
        let mut child = Running(Command::new(program).args(rest).stdout(Stdio::null()).spawn()?);
        while !is_ready(address).await {
            if let Some(status) = child.0.try_wait()? {
                return Err(format!("{program} ended before it was ready: {status}").into());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{program} was not ready within {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(format!(
        "p50_ms={:.1} min_ms={:.1} max_ms={:.1}",
        quantile_ms(&times, 0.5),
        quantile_ms(&times, 0.0),
        quantile_ms(&times, 1.0)
    ))
}

async fn is_ready(address: &str) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    connection.get("/health/ready").await.is_ok_and(|answer| answer.status == 200)
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
