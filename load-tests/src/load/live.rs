//! Live clients over WebSocket: how fast they connect, what they take, and how long a change takes
//! to reach them. Each client checks that no version goes back, and at the end that it has the last
//! one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use crate::{
    Arguments, Failure,
    connection::Connection,
    events::{id, set_lot},
    quantile_ms,
};

/// Connects that are under way at once.
const AT_ONCE: usize = 64;
/// Events of one request.
const BATCH: usize = 10;

#[derive(Default)]
struct Seen {
    connected: AtomicUsize,
    messages: AtomicU64,
    backwards: AtomicUsize,
    lost: AtomicUsize,
    delays: Mutex<Vec<Duration>>,
    /// The last version of each facility that a client has seen, by client.
    last: Mutex<HashMap<usize, i64>>,
}

/// Connects clients, each to one facility, and sends so many changes a second.
pub async fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let address = arguments.text("address")?.to_owned();
    let (clients, facilities) = (arguments.number("clients")?, arguments.number("facilities")?);
    let (rate, seconds) = (arguments.number("rate")?, arguments.number("seconds")?);
    let pid = arguments.number("pid")?;
    let before = resident_kib(pid)?;
    let (seen, turns) = (Arc::new(Seen::default()), Arc::new(Semaphore::new(AT_ONCE)));
    let began = Instant::now();
    for client in 0..clients {
        let (address, seen, turns) = (address.clone(), seen.clone(), turns.clone());
        let facility = 1 + client % facilities;
        tokio::spawn(async move {
            if follow(&address, facility, client, &seen, &turns).await.is_err() {
                seen.lost.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while seen.connected.load(Ordering::Relaxed) + seen.lost.load(Ordering::Relaxed) < clients {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let connects = clients as f64 / began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resident = resident_kib(pid)?.saturating_sub(before);
    let (messages, spent) = (seen.messages.load(Ordering::Relaxed), processor(pid)?);
    let versions = change(&address, facilities, rate, seconds).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let messages = seen.messages.load(Ordering::Relaxed) - messages;
    let spent = processor(pid)?.saturating_sub(spent);
    let mut delays = seen.delays.lock().unwrap_or_else(PoisonError::into_inner).clone();
    delays.sort_unstable();
    let last = seen.last.lock().unwrap_or_else(PoisonError::into_inner);
    let incomplete = (0..clients)
        .filter(|client| {
            let version = versions.get(&(1 + client % facilities));
            version.is_some_and(|version| last.get(client) != Some(version))
        })
        .count();
    Ok(format!(
        "connects_per_s={connects:.0} kib_per_client={:.2} messages={messages} p50_ms={:.2} \
         p99_ms={:.2} max_ms={:.2} cpu_us_per_message={:.1} backwards={} incomplete={incomplete} \
         lost={}",
        resident as f64 / clients as f64,
        quantile_ms(&delays, 0.5),
        quantile_ms(&delays, 0.99),
        quantile_ms(&delays, 1.0),
        spent as f64 * 10_000.0 / messages.max(1) as f64,
        seen.backwards.load(Ordering::Relaxed),
        seen.lost.load(Ordering::Relaxed),
    ))
}

async fn follow(
    address: &str,
    facility: usize,
    client: usize,
    seen: &Seen,
    turns: &Semaphore,
) -> Result<(), Failure> {
    let turn = turns.acquire().await?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let handshake = "GET /v1/live HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: \
                     websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: \
                     dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await?;
    let mut received = Vec::new();
    while !received.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut received).await? == 0 {
            return Err("closed".into());
        }
    }
    let end = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    received.drain(..end + 4);
    let text = format!("{{\"type\":\"subscribe\",\"facilities\":[\"{}\"]}}", id(1, facility));
    // A mask of zeros leaves the text as it is.
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).await?;
    let (mut version, mut turn) = (0, Some(turn));
    loop {
        while let Some((opcode, start, end)) = frame_of(&received) {
            if opcode == 9 {
                stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?;
            }
            if opcode == 1 && received[start..end].starts_with(b"{\"type\":\"summary\"") {
                version = summary(&received[start..end], client, version, seen);
                if turn.take().is_some() {
                    seen.connected.fetch_add(1, Ordering::Relaxed);
                }
            }
            received.drain(..end);
        }
        if received.is_empty() {
            received = Vec::new();
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err("closed".into());
        }
    }
}

fn summary(text: &[u8], client: usize, before: i64, seen: &Seen) -> i64 {
    let now = SystemTime::now();
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| text.split_once(name).map(|(_, rest)| rest);
    let number = field("\"version\":").and_then(|rest| rest.split(['}', ',']).next());
    let version: i64 = number.and_then(|number| number.parse().ok()).unwrap_or(-1);
    if version < before {
        seen.backwards.fetch_add(1, Ordering::Relaxed);
    }
    seen.messages.fetch_add(1, Ordering::Relaxed);
    seen.last.lock().unwrap_or_else(PoisonError::into_inner).insert(client, version);
    if before > 0
        && let Some(at) = field("\"updated_at\":\"").and_then(|rest| rest.get(..23)).and_then(ms_of)
    {
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let delay = since_1970.saturating_sub(Duration::from_millis(at));
        seen.delays.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }
    version
}

/// The milliseconds of the day of an instant, on today.
fn ms_of(instant: &str) -> Option<u64> {
    let part = |from: usize, to: usize| instant.get(from..to)?.parse::<u64>().ok();
    let of_day = ((part(11, 13)? * 60 + part(14, 16)?) * 60 + part(17, 19)?) * 1_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis() as u64;
    Some(now - now % 86_400_000 + of_day + part(20, 23)?)
}

fn frame_of(received: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (received.first()? & 15, usize::from(*received.get(1)?));
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(received.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(received.get(2..10)?.try_into().ok()?) as usize),
        length => (2, length),
    };
    (received.len() >= start + length).then_some((opcode, start, start + length))
}

/// Sends so many changes a second, and returns the last version of each facility.
async fn change(
    address: &str,
    facilities: usize,
    rate: usize,
    seconds: usize,
) -> Result<HashMap<usize, i64>, Failure> {
    let mut connection = Connection::open(address).await?;
    let banks = 2 * facilities;
    let (mut versions, mut sent, began) = (HashMap::new(), 0, Instant::now());
    let total = rate * seconds;
    while sent < total {
        let due = began + Duration::from_secs_f64(sent as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let lots = (0..BATCH.min(rate)).map(|nth| (sent + nth) * 7 % banks);
        let events: Vec<_> = lots.map(|lot| set_lot(lot, banks, 1 + (sent + lot) % 997)).collect();
        let body = format!("[{}]", events.join(","));
        let form = "application/cloudevents-batch+json";
        let answer = connection.post("/v1/events", form, body.as_bytes()).await?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            return Err(format!("an event was answered {}: {text}", answer.status).into());
        }
        for part in text.split("\"facility_id\":\"").skip(1) {
            let facility = part.get(24..36).and_then(|hex| usize::from_str_radix(hex, 16).ok());
            let version = part
                .split_once("\"version\":")
                .and_then(|(_, rest)| rest.split(['}', ',']).next()?.parse().ok());
            if let (Some(facility), Some(version)) = (facility, version) {
                versions.insert(facility, version);
            }
        }
        sent += BATCH.min(rate);
    }
    Ok(versions)
}

fn resident_kib(pid: usize) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()).ok_or("no VmRSS")?;
    Ok(kib.parse()?)
}

/// Processor time in hundredths of a second.
fn processor(pid: usize) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(") ").ok_or("no stat")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    Ok(number(11).unwrap_or(0) + number(12).unwrap_or(0))
}
