//! Reads of days that the service does not hold in memory: one after the other, in turn with a bare
//! SELECT of the same row by its primary key through sqlx, and all at the same instant.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::{
    Arguments, Failure,
    connection::{Connection, request},
    quantile_ms,
};

/// A connection of the driver that the service uses too.
enum Bare {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// The facility and the date of a row.
struct Row {
    facility: String,
    date: String,
}

impl Bare {
    async fn open(url: &str) -> Result<Bare, Failure> {
        Ok(match url.starts_with("postgres") {
            true => Bare::Postgres(PgConnection::connect(url).await?),
            false => Bare::Sqlite(SqliteConnection::connect(url).await?),
        })
    }

    /// The row of a summary's path that names a date, in `/v1/facilities/…/summaries/…`.
    async fn select(&mut self, row: &Row) -> Result<(), Failure> {
        let (facility, date) = (row.facility.as_str(), row.date.as_str());
        match self {
            Bare::Postgres(connection) => {
                let select = "SELECT * FROM dashboard_daily_summary WHERE facility_id = $1::uuid \
                              AND date = $2::text::date";
                let id: sqlx::types::Uuid = facility.parse()?;
                sqlx::query(select).bind(id).bind(date).fetch_one(connection).await?;
            }
            Bare::Sqlite(connection) => {
                let select =
                    "SELECT * FROM dashboard_daily_summary WHERE facility_id = $1 AND date = $2";
                let id: sqlx::types::Uuid = facility.parse()?;
                sqlx::query(select).bind(id).bind(date).fetch_one(connection).await?;
            }
        }
        Ok(())
    }
}

fn row(path: &str) -> Result<Row, Failure> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [_, _, _, facility, _, date] => {
            Ok(Row { facility: facility.to_owned(), date: date.to_owned() })
        }
        _ => Err(format!("{path} is not the path of a summary").into()),
    }
}

/// Reads each path for the first time, selects its row, and reads it once more, which memory
/// answers. In turn, so that all three run under the same conditions.
pub async fn one_by_one(arguments: &Arguments) -> Result<String, Failure> {
    let (address, server) = (arguments.text("address")?.to_owned(), arguments.text("server")?);
    let (paths, server) = (paths(arguments)?, server.to_owned());
    // On the threads of the runtime, like the service's own reads.
    tokio::spawn(async move {
        let (mut connection, mut bare) =
            (Connection::open(&address).await?, Bare::open(&server).await?);
        let mut taken: [Vec<Duration>; 3] = Default::default();
        let mut elsewhere = 0;
        for path in &paths {
            let row = row(path)?;
            for (place, rung) in [(0, "detail=table"), (2, "detail=memory")] {
                let asked = Instant::now();
                let answer = connection.get(path).await?;
                let time = asked.elapsed();
                if answer.status != 200 {
                    return Err::<String, Failure>(format!("{path}: {}", answer.status).into());
                }
                match answer.header("cache-status").is_some_and(|status| status.contains(rung)) {
                    true => taken[place].push(time),
                    false => elsewhere += 1,
                }
                if place == 0 {
                    let asked = Instant::now();
                    bare.select(&row).await?;
                    taken[1].push(asked.elapsed());
                }
            }
        }
        let mut line = format!("elsewhere={elsewhere}");
        for (name, times) in ["cold", "select", "memory"].iter().zip(&mut taken) {
            times.sort_unstable();
            for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
                line += &format!(" {name}_{label}_us={:.1}", quantile_ms(times, quantile) * 1000.0);
            }
        }
        Ok(line)
    })
    .await?
}

/// Opens a connection for each path, asks on all of them, and then reads the answers.
pub async fn at_once(arguments: &Arguments) -> Result<String, Failure> {
    let address = arguments.text("address")?;
    let mut connections = Vec::new();
    for path in paths(arguments)? {
        connections.push((Connection::open(address).await?, request("GET", &path, "", b"")));
    }
    let asked = Instant::now();
    for (connection, request) in &mut connections {
        connection.send(request).await?;
    }
    let sent = asked.elapsed();
    let mut answered = 0;
    for (connection, _) in &mut connections {
        answered += usize::from(connection.answer().await?.status == 200);
    }
    Ok(format!(
        "answered={answered} of={} sent_ms={:.1} ms={:.1}",
        connections.len(),
        sent.as_secs_f64() * 1000.0,
        asked.elapsed().as_secs_f64() * 1000.0
    ))
}

fn paths(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let file = arguments.text("paths")?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}
