//! The load client: the measurements that wrk cannot make. Each command prints one line of
//! `name=value` pairs, which bench.sh reads.
//!
//! All loops are closed, except in `paced` and `open_loop`: a connection asks again only when it
//! has its answer. So the rates are capacities, and the latencies are those of a queue that is
//! always full.

#[path = "../load/bare.rs"]
mod bare;
#[path = "../load/bare_write.rs"]
mod bare_write;
#[path = "../load/cold.rs"]
mod cold;
#[path = "../load/connection.rs"]
mod connection;
#[path = "../load/events.rs"]
mod events;
#[path = "../load/live.rs"]
mod live;
#[path = "../load/live_client.rs"]
mod live_client;
#[path = "../load/open_loop.rs"]
mod open_loop;
#[path = "../load/paced.rs"]
mod paced;
#[path = "../load/propagation.rs"]
mod propagation;
#[path = "../load/readers.rs"]
mod readers;
#[path = "../load/ready.rs"]
mod ready;
#[path = "../load/rung.rs"]
mod rung;

use std::{collections::HashMap, process::ExitCode, time::Duration};

const USAGE: &str = "load COMMAND address=HOST:PORT [name=value]...
  events    facilities=N lots=N batch=N connections=N seconds=N   inventory.set of random lots, \
                     each applied for certain
  fill      facility=N lots=N [churn=N]                           registers a facility with that \
                     many lots; with churn, changes each Nth
  stock     facilities=N lots=N                                   registers that many facilities \
                     with their lots, for `events`
  one       facility=N lots=N times=N round=N                     inventory.set of lots that \
                     `fill` set, one after the other; each round to other quantities
  live      clients=N facilities=N rate=N seconds=N pid=N         live clients, each of one \
                     facility that `stock` registered (subject=all: of all); so many changes a \
                     second; transport=ws, sse or nchan; reads=no: they read nothing later
  bare      file=FILE facilities=N lots=N batch=N seconds=N       the upserts of `events` into a \
                     copy of an SQLite file, without a service
  write     connections=N bytes=N times=N                         bare writes to one loopback \
                     connection after the other, without a service
  refresh   facility=N times=N                                    POST …/refresh, one after the \
                     other
  visit     paths=FILE connections=N                              GETs each path of the file once
  stampede  path=PATH readers=N                                   that many GETs at the same time; \
                     prints `sent` on a line of its own
                                                                  when all are under way, and \
                     reads the answers after a line on stdin
  open      paths=FILE connections=N rate=N seconds=N             GETs of the paths, so many a \
                     second, whatever the service does
  cold      paths=FILE server=URL                                 GETs each path for the first \
                     time, in turn with a bare SELECT of its row
                                                                  there by sqlx, and once more, \
                     which memory answers
  at_once   paths=FILE                                            a connection for each path; \
                     asks on all of them, and reads the answers
  reads     paths=FILE connections=N every_ms=N seconds=N         GETs of the paths, from each \
                     connection one every so often
  writes    facility=N connections=N every_ms=N seconds=N         the same with inventory.set; \
                     tells applied from refused
  rung      redis=HOST:PORT path=PATH key=KEY server=URL times=N  in turn a GET of the path at \
                     `address`, which has it in memory, one at
                                                                  `redis`, which has not, and a \
                     bare GET of the key's payload in Redis
  spread    to=HOST:PORT facility=N times=N                       events, one after the other; \
                     when each is in the memory of `to`
  ready     times=N -- COMMAND [ARGUMENT]...                      starts the command so often; \
                     time from its start to /health/ready";

/// Why a measurement failed; it ends the command.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The `name=value` arguments.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.0
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| format!("{name}= is missing\n{USAGE}").into())
    }

    pub fn number(&self, name: &str) -> Result<usize, Failure> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("{name}={text}: a whole number is expected").into())
    }
}

/// Milliseconds at a quantile of sorted durations.
pub fn quantile_ms(sorted: &[Duration], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * quantile).round() as usize)
        .map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let named = words
        .by_ref()
        .take_while(|word| word != "--")
        .filter_map(|w| w.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())));
    let arguments = Arguments(named.collect());
    let result = match command.as_str() {
        "events" => events::stream(&arguments).await,
        "live" => live::measure(&arguments).await,
        "fill" => events::fill(&arguments).await,
        "stock" => events::stock(&arguments).await,
        "one" => events::one(&arguments).await,
        "bare" => bare::upserts(&arguments),
        "write" => bare_write::measure(&arguments),
        "refresh" => readers::refresh(&arguments).await,
        "reads" => paced::reads(&arguments).await,
        "writes" => paced::writes(&arguments).await,
        "rung" => rung::measure(&arguments).await,
        "spread" => propagation::measure(&arguments).await,
        "visit" => readers::visit(&arguments).await,
        "stampede" => readers::stampede(&arguments).await,
        "open" => open_loop::reads(&arguments),
        "cold" => cold::one_by_one(&arguments).await,
        "at_once" => cold::at_once(&arguments).await,
        "ready" => ready::measure(&arguments, &words.collect::<Vec<_>>()).await,
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
