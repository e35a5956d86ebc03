//! Live clients: how fast they connect, what they take, and how long a change takes to reach them.
//! Each client checks that no version goes back, and at the end that it has the last one of each
//! facility.

use std::{
    collections::HashMap,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Semaphore;

use crate::{
    Arguments, Failure,
    connection::Connection,
    events::set_lot,
    live_client::{Client, Transport},
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
    /// The last version of each facility that a client has seen.
    last: Mutex<HashMap<(usize, usize), i64>>,
}

/// What each client does.
#[derive(Clone, Copy)]
struct Follow {
    transport: Transport,
    /// All facilities, and not one.
    is_all: bool,
    /// It reads nothing after its first summary.
    is_slow: bool,
}

impl Follow {
    fn of(arguments: &Arguments) -> Result<Self, Failure> {
        Ok(Follow {
            transport: match arguments.text("transport").unwrap_or("ws") {
                "ws" => Transport::Websocket,
                "sse" => Transport::Sse,
                "nchan" => Transport::Nchan,
                other => return Err(format!("transport={other}: ws, sse or nchan").into()),
            },
            is_all: arguments.text("subject").is_ok_and(|subject| subject == "all"),
            is_slow: arguments.text("reads").is_ok_and(|reads| reads == "no"),
        })
    }
}

/// Connects clients, and sends so many changes a second; with `rate=0` none.
pub async fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let address = arguments.text("address")?.to_owned();
    let (clients, facilities) = (arguments.number("clients")?, arguments.number("facilities")?);
    let (rate, seconds) = (arguments.number("rate")?, arguments.number("seconds")?);
    let (pid, what) = (arguments.text("pid")?, Follow::of(arguments)?);
    let before = resident_kib(pid)?;
    let (seen, turns) = (Arc::new(Seen::default()), Arc::new(Semaphore::new(AT_ONCE)));
    let began = Instant::now();
    for client in 0..clients {
        let (address, seen, turns) = (address.clone(), seen.clone(), turns.clone());
        let facility = (!what.is_all).then_some(1 + client % facilities);
        tokio::spawn(async move {
            if let Err(error) = follow(&address, what, facility, client, &seen, &turns).await
                && seen.lost.fetch_add(1, Ordering::Relaxed) == 0
            {
                eprintln!("load live: the first client that was lost: {error}");
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
    println!("ready");
    let versions = match (rate, what.transport) {
        (0, _) => {
            tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
            HashMap::new()
        }
        (_, Transport::Nchan) => publish(&address, facilities, rate, seconds).await?,
        _ => change(&address, facilities, rate, seconds).await?,
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kernel = kernel_bytes(&address)? / clients.max(1);
    let messages = seen.messages.load(Ordering::Relaxed) - messages;
    let spent = processor(pid)?.saturating_sub(spent);
    let mut delays = seen.delays.lock().unwrap_or_else(PoisonError::into_inner).clone();
    delays.sort_unstable();
    let last = seen.last.lock().unwrap_or_else(PoisonError::into_inner);
    let has_all = |client: usize| {
        versions.iter().all(|(facility, version)| {
            let follows = what.is_all || *facility == 1 + client % facilities;
            !follows || last.get(&(client, *facility)) == Some(version)
        })
    };
    let incomplete = (0..clients).filter(|client| !has_all(*client)).count();
    Ok(format!(
        "connects_per_s={connects:.0} kib_per_client={:.2} kernel_kib_per_client={:.2} \
         messages={messages} per_client_s={:.2} p50_ms={:.2} p99_ms={:.2} max_ms={:.2} \
         cpu_us_per_message={:.1} backwards={} incomplete={incomplete} lost={}",
        resident as f64 / clients as f64,
        kernel as f64 / 1_024.0,
        messages as f64 / clients as f64 / (seconds + 2) as f64,
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
    what: Follow,
    facility: Option<usize>,
    number: usize,
    seen: &Seen,
    turns: &Semaphore,
) -> Result<(), Failure> {
    let mut turn = Some(turns.acquire().await?);
    let mut client = Client::connect(address, what.transport, facility).await?;
    // What is published at nchan is sent to those who are there already.
    let mut connected = || {
        if turn.take().is_some() {
            seen.connected.fetch_add(1, Ordering::Relaxed);
        }
    };
    if what.transport == Transport::Nchan {
        connected();
    }
    let mut versions = HashMap::new();
    loop {
        let message = client.next().await?;
        if !message.starts_with(b"{\"type\":\"summar") {
            if has_type(&message, "error") || has_type(&message, "draining") {
                return Err(String::from_utf8_lossy(&message).into());
            }
            continue;
        }
        let now = SystemTime::now();
        seen.messages.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&message);
        for summary in text.split("\"facility_id\":\"").skip(1) {
            take(summary, number, &mut versions, now, seen);
        }
        connected();
        if what.is_slow {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes a summary, from its facility's id on.
fn take(
    summary: &str,
    client: usize,
    versions: &mut HashMap<usize, i64>,
    now: SystemTime,
    seen: &Seen,
) {
    let Some(facility) = number_of(summary) else { return };
    let field = |name: &str| summary.split_once(name).map(|(_, rest)| rest);
    let version = version_of(summary).unwrap_or(-1);
    let before = versions.insert(facility, version).unwrap_or(0);
    if version < before {
        seen.backwards.fetch_add(1, Ordering::Relaxed);
    }
    let mut last = seen.last.lock().unwrap_or_else(PoisonError::into_inner);
    last.insert((client, facility), version);
    drop(last);
    if before > 0
        && let Some(at) = field("\"updated_at\":\"").and_then(|rest| rest.get(..23)).and_then(ms_of)
    {
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let delay = since_1970.saturating_sub(Duration::from_millis(at));
        seen.delays.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
    }
}

/// Whether a message is of this type.
fn has_type(message: &[u8], name: &str) -> bool {
    let member = format!("\"type\":\"{name}\"");
    message.windows(member.len()).any(|part| part == member.as_bytes())
}

/// The number in the id of a facility, with which the text begins.
fn number_of(text: &str) -> Option<usize> {
    text.get(24..36).and_then(|hex| usize::from_str_radix(hex, 16).ok())
}

/// The version in the text of a summary.
fn version_of(text: &str) -> Option<i64> {
    text.split_once("\"version\":")?.1.split(['}', ',']).next()?.parse().ok()
}

/// The milliseconds of the day of an instant, on today.
fn ms_of(instant: &str) -> Option<u64> {
    let part = |from: usize, to: usize| instant.get(from..to)?.parse::<u64>().ok();
    let of_day = ((part(11, 13)? * 60 + part(14, 16)?) * 60 + part(17, 19)?) * 1_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis() as u64;
    Some(now - now % 86_400_000 + of_day + part(20, 23)?)
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
    while sent < rate * seconds {
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
            if let (Some(facility), Some(version)) = (number_of(part), version_of(part)) {
                versions.insert(facility, version);
            }
        }
        sent += BATCH.min(rate);
    }
    Ok(versions)
}

/// Publishes as much at nchan: messages of the same form and length, in turn to each channel.
async fn publish(
    address: &str,
    facilities: usize,
    rate: usize,
    seconds: usize,
) -> Result<HashMap<usize, i64>, Failure> {
    let mut connection = Connection::open(address).await?;
    let (mut versions, began) = (HashMap::new(), Instant::now());
    for sent in 0..rate * seconds {
        let due = began + Duration::from_secs_f64(sent as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let facility = 1 + sent * 7 % facilities;
        let version = 1 + (sent / facilities) as i64;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() % 86_400_000;
        let (s, ms) = (now_ms / 1_000, now_ms % 1_000);
        let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
        let body = format!(
            "{{\"type\":\"summary\",\"summary\":{{\"facility_id\":\"{}\",\"updated_at\":\
             \"2026-01-01T{h:02}:{m:02}:{s:02}.{ms:03}Z\",\"version\":{version},\
             \"rest\":\"{}\"}}}}",
            crate::events::id(1, facility),
            "x".repeat(350)
        );
        let path = format!("/pub?id={facility}");
        let answer = connection.post(&path, "application/json", body.as_bytes()).await?;
        if !matches!(answer.status, 200..=299) {
            return Err(format!("a publication was answered {}", answer.status).into());
        }
        versions.insert(facility, version);
    }
    Ok(versions)
}

/// What the kernel holds for the server's sockets, in bytes: what was received and not read, what
/// was sent and not acknowledged, and what is reserved.
fn kernel_bytes(address: &str) -> Result<usize, Failure> {
    let port = address.rsplit_once(':').ok_or("no port")?.1;
    let filter = format!("sport = :{port}");
    let listed = Command::new("ss").args(["-tmnH", &filter]).output()?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let of_one = |skmem: &str| -> usize {
        let parts = skmem.split(')').next().unwrap_or_default().split(',');
        let held = ["r", "t", "f", "w"];
        let number = |part: &str| {
            held.iter().find_map(|name| part.strip_prefix(name)?.parse::<usize>().ok())
        };
        parts.filter_map(number).sum()
    };
    Ok(text.split("skmem:(").skip(1).map(of_one).sum())
}

/// The resident memory of these processes, which commas separate.
fn resident_kib(pids: &str) -> Result<u64, Failure> {
    pids.split(',').try_fold(0, |sum, pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()).ok_or("no VmRSS")?;
        Ok(sum + kib.parse::<u64>()?)
    })
}

/// Their processor time in hundredths of a second.
fn processor(pids: &str) -> Result<u64, Failure> {
    pids.split(',').try_fold(0, |sum, pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let rest = stat.rsplit_once(") ").ok_or("no stat")?.1;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        Ok(sum + number(11).unwrap_or(0) + number(12).unwrap_or(0))
    })
}
