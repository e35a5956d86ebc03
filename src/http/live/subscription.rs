//! What a client asks to follow, and what it is told.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    http::field_rules,
    live::{
        connection::Connection,
        follow::{Known, MOST_FACILITIES},
        server::NotFound,
        shard::Shard,
        slots::number_of,
        tiers::AT_ONCE,
        wire::Transport,
    },
    protocol::Position,
};

/// What a client asks for.
#[derive(Default)]
pub struct Asked {
    /// The id that the client gave its message.
    pub id: Option<Value>,
    /// Facilities, as the client wrote them.
    pub facilities: Vec<String>,
    /// What it has of each.
    pub known: HashMap<String, String>,
    /// `all` or `totals`.
    pub subject: Option<String>,
    /// The id of the last event that it saw.
    pub resume: Option<String>,
}

/// The seconds that a client which comes back waits until this server has come as far as the last
/// one.
const CATCH_UP: u64 = 2;

/// Has a client follow what it asks for, and tells it what was refused.
pub async fn subscribe(shard: Rc<Shard>, connection: Rc<Connection>, asked: Asked) {
    let signs_in = shard.hub.parts.guard.is_some();
    if signs_in && connection.state().who.is_none() {
        connection.error("unauthorized", "Sign in first: {\"type\":\"auth\",\"token\":…}.");
        return connection.flush(&shard);
    }
    let came_ms = shard.hub.parts.server.latest_ms();
    let (mut taken, mut refused) = look_up(&shard, &connection, &asked.facilities).await;
    let subject = asked.subject.as_deref();
    if let Some(unknown) = subject.filter(|subject| !matches!(*subject, "all" | "totals")) {
        refused.push(json!({ "subject": unknown, "reason": "unknown" }));
    }
    let subject = subject.filter(|subject| matches!(*subject, "all" | "totals"));
    let resume = match &asked.resume {
        Some(text) => Some(place_of(&shard, text).await),
        None => None,
    };
    if connection.number.get() == usize::MAX {
        return; // it has gone
    }
    // What it may see may have changed since it was asked.
    let visible = connection.state().visible.clone();
    for (_, text) in taken.extract_if(.., |(id, _)| !visible.has(*id)) {
        refused.push(json!({ "facility_id": text, "reason": "forbidden" }));
    }
    let ids: Vec<Uuid> = taken.iter().map(|(id, _)| *id).collect();
    let followed = number_of(ids.iter().copied().collect::<HashSet<_>>().into_iter());
    let resume = resume.map(|place| match place? {
        (at, known) if known == followed => Ok(at),
        // Of some of them the client may have nothing.
        _ => Err("facilities"),
    });
    let drops = !refused.is_empty();
    let mut told = json!({
        "id": asked.id, "facilities": ids, "subject": subject, "refused": refused,
    });
    if let Some(resume) = &resume {
        told["resumed"] = (resume.is_ok() && subject.is_none()).into();
        told["reason"] = resume.as_ref().err().map_or(Value::Null, |reason| (*reason).into());
    }
    let encode = if drops { Transport::dropping } else { Transport::of };
    connection.raw_control(encode(connection.transport, "subscribed", told));
    let comes_back = resume.is_some_and(|place| !matches!(place, Err("epoch" | "unknown")));
    let place = resume.and_then(Result::ok);
    for (id, text) in taken {
        let known = match asked.known.get(text) {
            _ if comes_back => Known { tag: None, least: i64::MAX },
            Some(etag) => shard.known(id, etag),
            None => Known::default(),
        };
        shard.follow(&connection, id, &known);
    }
    match subject {
        Some("all") => shard.follow_all(&connection),
        Some("totals") => shard.follow_totals(&connection),
        _ => {}
    }
    connection.flush(&shard);
    if comes_back {
        go_on(&shard, &connection, (ids, came_ms), place).await;
    }
}

/// Those of some facilities that a client may follow, and what it is told of the others.
async fn look_up<'a>(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    facilities: &'a [String],
) -> (Vec<(Uuid, &'a String)>, Vec<Value>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    // Together: those that are not known here are then read by one query.
    let each = facilities.iter().map(|text| may_follow(shard, connection, text));
    let each = join_all(each).await;
    let follows = connection.state().slots.iter().filter(|slot| slot.cell.is_some()).count();
    for (text, may) in facilities.iter().zip(each) {
        let reason = match may {
            Ok(_) if follows + taken.len() >= MOST_FACILITIES => "too_many",
            Ok(id) => {
                taken.push((id, text));
                continue;
            }
            Err(reason) => reason,
        };
        refused.push(json!({ "facility_id": text, "reason": reason }));
    }
    (taken, refused)
}

/// Whether a client may follow this facility; else why not, in a word.
async fn may_follow(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    text: &str,
) -> Result<Uuid, &'static str> {
    let id = field_rules::parse_id(text).ok_or("not_an_id")?;
    if !connection.state().visible.has(id) {
        return Err("forbidden");
    }
    if shard.hub.parts.directory.get(id).is_some() {
        return Ok(id);
    }
    let server = &shard.hub.parts.server;
    if server.is_in_outage() {
        return Err("unavailable");
    }
    match server.clone().find(id).await {
        Ok(()) => Ok(id),
        Err(NotFound::Gone) => Err("unknown"),
        Err(NotFound::Unavailable) => Err("unavailable"),
    }
}

/// The position in an id of an event, if what came after it is known here, and the number of the
/// facilities that were followed; else why not. Waits until this server has come as far.
async fn place_of(shard: &Rc<Shard>, text: &str) -> Result<(Position, u64), &'static str> {
    let mut parts = text.splitn(4, '.');
    let epoch = parts.next().unwrap_or_default();
    let mut number = || parts.next().and_then(|text| text.parse::<i64>().ok());
    let (Some(generation), Some(number)) = (number(), number()) else { return Err("unknown") };
    let followed = parts.next().and_then(|text| u64::from_str_radix(text, 16).ok());
    let followed = followed.ok_or("unknown")?;
    if !shard.is_in_epoch(epoch) {
        return Err("epoch");
    }
    let at = Position { generation, number };
    let is_reached = || {
        let here = shard.hub.parts.memory.fill_token().position;
        here.generation != generation || here.number >= number
    };
    if !shard.wait_until(CATCH_UP, is_reached).await {
        return Err("behind");
    }
    shard.hub.since(at).map(|_| (at, followed)).ok_or("trimmed")
}

/// Sends what has changed since a position, or everything where there is none. Another server may
/// have sent this client what has not arrived here. So it gets nothing that is not exact as of when
/// it came: that is a watermark later, or is read anew.
async fn go_on(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (mut ids, came_ms): (Vec<Uuid>, i64),
    place: Option<Position>,
) {
    shard.wait_until(CATCH_UP, || shard.are_exact(&ids, came_ms)).await;
    ids.retain(|id| !shard.are_exact(&[*id], came_ms));
    while !ids.is_empty() && connection.number.get() != usize::MAX {
        let read = ids.iter().map(|id| async move { (*id, shard.read_anew(*id).await) });
        let read: Vec<_> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
        ids = read.into_iter().filter(|(_, is_known)| !is_known).map(|(id, _)| id).collect();
        if !ids.is_empty() {
            shard.wait_until(1, || shard.are_exact(&ids, came_ms)).await;
            ids.retain(|id| !shard.are_exact(&[*id], came_ms));
        }
    }
    // By now every change behind the position is either named by it, or yet to come.
    let since = place.and_then(|at| shard.hub.since(at));
    connection.release(|newest, day_start_ms| {
        let Some(since) = &since else { return None };
        let is_known = !since.facilities.contains(&newest.facility);
        (is_known && day_start_ms <= since.at_ms).then_some(newest.tag)
    });
    connection.flush(shard);
}
