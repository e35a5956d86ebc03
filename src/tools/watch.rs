//! `watch`: figures of a running service in a terminal, as they change. It is a client like any
//! other one; a service must not notice the difference.

mod connection;
mod figures;
mod screen;
mod session;

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgGroup, Args};
use uuid::Uuid;

use connection::Target;
use session::{End, Session};

/// What is to be followed, and how it is shown.
#[derive(Args)]
#[command(group(ArgGroup::new("followed").args(["facilities", "all"]).required(true)))]
pub struct WatchArgs {
    /// The facilities, by their ids
    #[arg(value_name = "FACILITY")]
    facilities: Vec<Uuid>,
    /// Every facility that one may see, and the sums over them
    #[arg(long)]
    all: bool,
    /// The address of the service
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A key or a token. In the environment other users of this machine do not see it
    #[arg(long, env = "FACILITY_SUMMARY_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Each message of the service as a line of JSON; what happens to the connection goes to
    /// standard error
    #[arg(long)]
    json: bool,
}

/// The first, and the longest, bound of the time between two attempts to connect.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that has lasted so long is no failure.
const LASTED: Duration = Duration::from_secs(10);

/// The wait between two attempts: any time up to a bound that grows by half each time, so that the
/// clients of a service that was away do not come back all at once.
struct Pauses(Duration);

impl Pauses {
    fn next(&mut self) -> Duration {
        let bound = self.0;
        self.0 = (bound * 3 / 2).min(LONGEST);
        bound.mul_f64(rand::random_range(0.0..=1.0))
    }
}

/// Carries it out, until it is ended.
pub async fn run(args: WatchArgs) -> ExitCode {
    let target = match Target::new(&args.url, args.key.as_deref()) {
        Ok(target) => target,
        Err(error) => return failed(&error, 2),
    };
    let mut session = Session::new(target, args.facilities, args.all, args.json);
    let ended = tokio::select! {
        ended = follow(&mut session) => ended,
        stopped = stopped() => stopped.map(|()| None),
    };
    session.show.leave();
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(reason)) => failed(&reason, 1),
        // Whoever reads the output has had enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&format!("the output cannot be written: {error}"), 1),
    }
}

/// Follows until the service refuses it; returns why.
async fn follow(session: &mut Session) -> io::Result<Option<String>> {
    let mut pauses = Pauses(FIRST);
    loop {
        let began = tokio::time::Instant::now();
        let (reason, pause) = match session.run().await? {
            End::Refused(reason) => return Ok(Some(reason)),
            End::Told { reason, after } => (reason, after),
            End::Lost(reason) => {
                if began.elapsed() > LASTED {
                    pauses = Pauses(FIRST);
                }
                (reason, pauses.next())
            }
        };
        session.wait(&reason, pause).await?;
    }
}

/// Waits until somebody ends it.
async fn stopped() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

fn failed(reason: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("facility-summary: {reason}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_half_up_to_30_seconds_and_are_any_time_up_to_that() {
        let mut pauses = Pauses(FIRST);
        for bound_ms in [1_000, 1_500, 2_250, 3_375] {
            assert_eq!(pauses.0, Duration::from_millis(bound_ms));
            assert!(pauses.next() <= Duration::from_millis(bound_ms));
        }
        let long: Vec<Duration> = (0..200).map(|_| pauses.next()).skip(10).collect();
        assert!(long.iter().all(|pause| *pause <= LONGEST));
        assert!(long.iter().any(|pause| *pause < LONGEST / 3));
        assert!(long.iter().any(|pause| *pause > LONGEST * 2 / 3));
    }
}
