//! The tasks of a replica around the stream: what it appends, what it consumes, and what it puts
//! into the tier.

use facility_summary::{
    cache::memory::{Consumed, FillToken},
    protocol::{Epoch, Message, Position},
};
use rand::RngExt;

use crate::{
    mutants::Mutant,
    places::{facility_id, index},
    redis,
    world::{Sim, called},
};

/// Redis did not answer.
#[derive(Debug)]
pub struct Unanswered;

/// Appends a message if the stream is at the generation `least` or a later one. Without an answer,
/// the message may have been appended, or may be appended later.
pub async fn append(
    sim: &Sim,
    r: usize,
    epoch: &Epoch,
    least: i64,
    message: &Message,
) -> Result<Option<Position>, Unanswered> {
    let payload = message.encode();
    sim.step().await;
    let world = &mut *sim.world();
    world.redis_of(r).ok_or(Unanswered)?;
    let of_any_run = world.mutant == Some(Mutant::AppendsToAnyRun);
    let (unanswered, side) = (world.pace.unanswered, world.replicas[r].side);
    if world.chance(unanswered) {
        let (late, epoch) = (sim.clone(), epoch.clone());
        let steps = world.rng.random_range(0..4);
        let act = async move {
            for _ in 0..steps {
                late.step().await;
            }
            let redis = &mut late.world().redis[side];
            if !redis.is_down {
                redis.append(&epoch, least, &payload, of_any_run);
            }
        };
        world.spawned.push(crate::world::Actor {
            replica: None,
            is_drain: false,
            act: Box::pin(act),
        });
        return Err(Unanswered);
    }
    Ok(world.redis[side].append(epoch, least, &payload, of_any_run))
}

/// Begins a generation in the stream.
pub async fn begin(sim: &Sim, r: usize, epoch: &Epoch, generation: i64) {
    sim.step().await;
    if let Some(redis) = sim.world().redis_of(r) {
        redis.begin(epoch, generation, &Message::Begun.encode());
    }
}

/// Works through the queue: appends changes to the stream, and puts all rows into the tier, in
/// either order.
pub async fn publish_for_ever(sim: Sim, r: usize) {
    loop {
        sim.step().await;
        let next = sim.world().replicas[r].queue.pop_front();
        let Some(publication) = next else { continue };
        let is_put_first = sim.world().chance(50);
        if is_put_first {
            put(&sim, r, &publication).await;
        }
        if publication.changed || !publication.facilities.is_empty() {
            let message = match publication.facilities.is_empty() {
                true => Message::Summaries(publication.entries.clone()),
                false => Message::Facilities(publication.facilities.clone()),
            };
            let appended = append(&sim, r, &publication.epoch, 0, &message).await;
            sim.tell(called(r), || {
                format!("publishes {} rows: {appended:?}", publication.entries.len())
            });
        }
        if !is_put_first {
            put(&sim, r, &publication).await;
        }
    }
}

async fn put(sim: &Sim, r: usize, publication: &crate::replica::Publication) {
    sim.step().await;
    let epoch = (!sim.breaks(Mutant::OneTierForAll)).then(|| publication.epoch.clone());
    let world = &mut *sim.world();
    let Some(redis) = world.redis_of(r) else { return };
    for entry in &publication.entries {
        redis.put(epoch.clone(), index(&entry.row.key()), entry.clone());
    }
}

/// Follows the stream of the epoch that the replica serves, from the last position that it read.
pub async fn follow_for_ever(sim: Sim, r: usize) {
    let mut place: Option<(Epoch, i64)> = None;
    loop {
        sim.step().await;
        let Some(epoch) = sim.epoch(r).filter(|_| sim.directory(r).is_loaded()) else { continue };
        let after = place.take().filter(|(of, _)| *of == epoch).map(|(_, number)| number);
        let after = follow(&sim, r, &epoch, after).await;
        sim.world().replicas[r].attachment.fall_behind();
        place = after.map(|number| (epoch, number));
    }
}

/// The most messages that one read of the stream returns.
const AT_ONCE: usize = 3;

async fn follow(sim: &Sim, r: usize, epoch: &Epoch, place: Option<i64>) -> Option<i64> {
    let Ok((first, last)) = open(sim, r, epoch) else { return place };
    let mut after = place.or(first).unwrap_or(0);
    if after >= last {
        sim.world().replicas[r].attachment.catch_up();
    }
    loop {
        let (token, directory_epoch) = (sim.token(r), sim.directory(r).epoch());
        if sim.epoch(r).as_ref() != Some(epoch) {
            return Some(after);
        }
        sim.step().await;
        let Ok(found) = read(sim, r, epoch, after) else { return Some(after) };
        let entries = match found {
            Some(entries) => entries,
            None if after == 0 => Vec::new(), // the stream has not begun yet
            None => {
                sim.tell(called(r), || "has lost its place in the stream".into());
                sim.memory(r).start_new_session(Some(Position::default()));
                sim.directory(r).note_message(None);
                return None;
            }
        };
        let is_all = entries.is_empty();
        for entry in entries {
            sim.step().await;
            if take(sim, r, &token, directory_epoch, &entry) == Consumed::OtherEpoch {
                return None;
            }
            after = entry.at.number;
        }
        if is_all || after >= last {
            sim.world().replicas[r].attachment.catch_up();
        }
    }
}

/// The number to begin after, if there is a stream, and the last number.
fn open(sim: &Sim, r: usize, epoch: &Epoch) -> Result<(Option<i64>, i64), Unanswered> {
    let world = &mut *sim.world();
    let replay = world.pace.replay as i64;
    let Some(stream) = world.redis_of(r).ok_or(Unanswered)?.streams.get(epoch) else {
        return Ok((None, 0));
    };
    let from = stream.last - replay;
    let first = stream.entries.iter().find(|entry| entry.at.number > from);
    Ok((first.map(|first| first.at.number - 1), if first.is_some() { stream.last } else { 0 }))
}

/// The messages after that number; `None` when the stream ends before it.
fn read(
    sim: &Sim,
    r: usize,
    epoch: &Epoch,
    after: i64,
) -> Result<Option<Vec<redis::Message>>, Unanswered> {
    let world = &mut *sim.world();
    let Some(stream) = world.redis_of(r).ok_or(Unanswered)?.streams.get(epoch) else {
        return Ok(None);
    };
    let found: Vec<_> = stream
        .entries
        .iter()
        .filter(|entry| entry.at.number > after)
        .take(AT_ONCE)
        .cloned()
        .collect();
    Ok((!found.is_empty() || stream.last >= after).then_some(found))
}

/// As `Follower::take` does.
fn take(
    sim: &Sim,
    r: usize,
    token: &FillToken,
    directory_epoch: u32,
    entry: &redis::Message,
) -> Consumed {
    let (memory, directory) = (sim.memory(r), sim.directory(r));
    let mut message = Message::decode(&entry.payload).expect("what was encoded can be decoded");
    let mut at = entry.at;
    let before = memory.fill_token().position;
    match sim.world().mutant {
        Some(Mutant::IgnoresGaps) if before != Position::default() => {
            at = Position { number: before.number + 1, ..before }
        }
        Some(Mutant::TrustsMessages) => {
            if let Message::Summaries(entries) = &mut message {
                entries.iter_mut().for_each(|entry| entry.since = at);
            }
        }
        Some(Mutant::JoinsOldGenerations) => {
            if let Message::Summaries(entries) = &mut message {
                entries.iter_mut().for_each(|entry| entry.since.generation = at.generation);
            }
        }
        Some(Mutant::NoVersionCompare) => memory.forget_facility(facility_id(0)),
        _ => {}
    }
    let token = if sim.breaks(Mutant::FollowsOldHistory) { memory.fill_token() } else { *token };
    if let Message::Facilities(ids) = &message {
        directory.note_message(Some(ids.clone()));
    }
    if sim.breaks(Mutant::EmptyDaysOutliveMoves)
        && let Message::Facilities(ids) = &mut message
    {
        ids.clear();
    }
    let consumed = memory.consume(&token, at, &message);
    if consumed == Consumed::Gap
        && !(before == Position::default() && sim.breaks(Mutant::TrustsItsFirstDirectory))
    {
        directory.note_message(None);
    }
    if let Message::Watermark { at_ms } = message
        && matches!(consumed, Consumed::Next | Consumed::Gap)
    {
        let is_wrong = sim.breaks(Mutant::HeartbeatsWithoutDirectory);
        directory.prove(directory_epoch, if is_wrong { i64::MAX } else { at_ms });
    }
    if consumed != Consumed::Old {
        sim.tell(called(r), || {
            format!("consumes {}/{} {}: {consumed:?}", at.generation, at.number, told(&message))
        });
    }
    consumed
}

fn told(message: &Message) -> String {
    match message {
        Message::Summaries(entries) => {
            let told: Vec<_> = entries
                .iter()
                .map(|e| {
                    format!(
                        "key {} version {} since {:?}",
                        index(&e.row.key()),
                        e.row.summary.version,
                        e.since
                    )
                })
                .collect();
            told.join(", ")
        }
        other => format!("{other:?}"),
    }
}
