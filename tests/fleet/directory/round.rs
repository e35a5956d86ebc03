//! One round: a fleet with random settings, its facilities, the load, the faults, and the verdict.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    faults,
    judge::{Bug, Complaint, Verdict, judge},
    moves, readers,
    seen::{Answer, Asked, Said, Stated},
    settings::{Plan, ZONES, random},
    wal,
    world::{World, client},
    writers::{Site, Writer},
};
use crate::{
    parts::Fleet,
    support::{faketime::FakeClock, postgres::Postgres},
};

const REPLICAS: usize = 3;
const WRITERS: usize = 6;
const READERS: usize = 5;
/// How long the parts may take to start and the facilities to be registered, in milliseconds.
const START_MS: i64 = 12_000;
const FACILITY_MS: i64 = 60;
/// How many complaints of a kind are printed, unless TOLD is set.
const TOLD: usize = 4;
/// How long a fleet may take after the last fault and the last write until all its answers are
/// exact again.
const SETTLES: Duration = Duration::from_secs(30);

/// The result of a round.
pub struct Outcome {
    pub plan: Plan,
    pub answers: usize,
    pub faults: usize,
    pub verdict: Verdict,
    acknowledged: usize,
    sql: usize,
    settled: bool,
}

impl Outcome {
    pub fn is_true(&self) -> bool {
        self.verdict.complaints.is_empty() && self.settled
    }

    pub fn bugs(&self) -> usize {
        self.verdict.complaints.len()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { plan, answers, faults, verdict, acknowledged, sql, settled } = self;
        writeln!(
            out,
            "seed {} {:?}, {} facilities, {} s: {answers} answers, {} judged, {acknowledged} \
             requests with events acknowledged, {sql} by SQL, {faults} faults, settled {settled}; \
             refused {:?}; wrong answers {}",
            plan.seed,
            plan.kind,
            plan.facilities,
            plan.seconds,
            verdict.judged,
            verdict.refused,
            verdict.complaints.len()
        )?;
        let mut kinds: BTreeMap<Bug, Vec<&Complaint>> = BTreeMap::new();
        verdict
            .complaints
            .iter()
            .for_each(|complaint| kinds.entry(complaint.bug).or_default().push(complaint));
        for (bug, complaints) in kinds {
            writeln!(out, "  {bug:?} {} times, such as", complaints.len())?;
            let step = complaints.len().div_ceil(super::setting("TOLD").unwrap_or(TOLD));
            complaints
                .iter()
                .step_by(step)
                .try_for_each(|complaint| writeln!(out, "    {complaint}"))?;
        }
        Ok(())
    }
}

/// Runs the round. What is wrong is in the outcome; it panics only if the test itself fails.
pub async fn run(plan: Plan) -> Outcome {
    let half_ms = i64::try_from(plan.seconds * 500).expect("a round is short");
    // The parts are started first, and the facilities registered.
    let ahead_ms = plan.ahead_ms(half_ms + START_MS + FACILITY_MS * plan.facilities as i64);
    let midnight_ms = Timestamp::now().as_millisecond()
        + ahead_ms
        + half_ms
        + START_MS
        + FACILITY_MS * plan.facilities as i64;
    let clock = FakeClock::at(Timestamp::now() + SignedDuration::from_millis(ahead_ms));
    // The clocks never change within a round, so that the replicas need not check for it.
    let environment: Vec<(&str, String)> =
        clock.environment().into_iter().filter(|(name, _)| *name != "FAKETIME_NO_CACHE").collect();
    let postgres = Postgres::start_in_environment(&wal::SETTINGS, &environment);
    let mut rng = plan.rng(3);
    let settings: Vec<(usize, u64)> =
        (0..REPLICAS).map(|replica| (replica, rng.random())).collect();
    let mut fleet = Fleet::start(REPLICAS, &postgres, None, |replica, launch| {
        let (launch, told) = random(&mut plan.rng(settings[replica].1), launch);
        eprintln!("  replica {replica}: {told}");
        launch.envs(environment.clone())
    })
    .await;
    let world = Arc::new(World::new(plan, fleet.places.clone(), ahead_ms));
    let mut truth = wal::begin(&world.places.primary, world.now_ms()).await;
    world.places.sites.iter().for_each(|site| world.knows(site.facility));
    let mut writers = populated(&world).await;
    let (mut writing, mut reading) = (JoinSet::new(), JoinSet::new());
    writers.drain(..).for_each(|writer| drop(writing.spawn(writer.write())));
    (0..READERS)
        .for_each(|reader| drop(reading.spawn(readers::read(world.clone(), reader as u64))));
    let count =
        faults::break_things(&world, &mut fleet, &postgres, midnight_ms, midnight_ms + half_ms)
            .await;
    world.stop();
    let (mut answers, mut stated): (Vec<Answer>, Vec<Stated>) = (Vec::new(), Vec::new());
    for (said, seen) in writing.join_all().await {
        stated.extend(said);
        answers.extend(seen);
    }
    reading.join_all().await.into_iter().for_each(|seen| answers.extend(seen));
    let settled = read_the_end(&world, &mut answers).await;
    wal::read(&fleet.database_on(&postgres), &mut truth).await;
    let verdict = judge(&truth, &answers, &stated);
    let (acknowledged, sql) =
        (world.acknowledged.load(Ordering::Relaxed), world.sql.load(Ordering::Relaxed));
    Outcome { plan, answers: answers.len(), faults: count, verdict, acknowledged, sql, settled }
}

/// Makes the writers and registers their facilities: a quarter in the zone that will have its
/// midnight, and a few later.
async fn populated(world: &Arc<World>) -> Vec<Writer> {
    let mut rng = world.plan.rng(4);
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let mut sites = Vec::new();
        for at in (number..world.plan.facilities).step_by(WRITERS) {
            let zone = if at % 4 == 0 {
                world.plan.midnight_zone()
            } else {
                ZONES[rng.random_range(0..ZONES.len())]
            };
            let (id, name) = (Uuid::from_u128(rng.random()), format!("Facility {at}"));
            let id = uuid::Builder::from_u128(id.as_u128())
                .with_version(uuid::Version::Random)
                .into_uuid();
            world.knows(id);
            sites.push(Site {
                id,
                exists: false,
                zone,
                name,
                banks: Vec::new(),
                requests: Vec::new(),
                deliveries: Vec::new(),
            });
        }
        let mut writer = Writer::new(world.clone(), number as u64, sites);
        for at in 0..writer.sites.len() {
            if at % 8 != 7 {
                moves::come_back(&mut writer, at).await;
            }
        }
        writers.push(writer);
    }
    writers
}

/// Reads everything at every replica at the end; returns whether all of it was answered.
async fn read_the_end(world: &World, answers: &mut Vec<Answer>) -> bool {
    let (client, started, facilities) = (client(), std::time::Instant::now(), world.facilities());
    let today = Timestamp::from_millisecond(world.now_ms())
        .expect("it is now")
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let to = today.tomorrow().expect("the calendar goes on");
    let few = facilities.iter().step_by(facilities.len().div_ceil(100));
    let mut settled = true;
    for replica in 0..world.places.replicas() {
        let asked = || Asked { replica, bound_seconds: Some(0), ..Asked::default() };
        loop {
            let listed = readers::listing(world, &client, asked(), None, 500).await;
            let is_there = matches!(&listed, Some(Answer { said: Said::Listing { .. }, .. }));
            answers.extend(listed);
            if is_there || started.elapsed() > SETTLES {
                settled &= is_there;
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        answers.extend(readers::directory(world, &client, asked()).await);
        for facility in few.clone() {
            answers.extend(readers::range(world, &client, asked(), *facility, to).await);
            let held = Asked { replica, bound_seconds: Some(60), ..Asked::default() };
            for days in 0..3 {
                let date = today.checked_sub(jiff::Span::new().days(days)).expect("it is a day");
                answers.extend(
                    readers::one(
                        world,
                        &client,
                        &mut readers::Known::new(),
                        held.clone(),
                        *facility,
                        Some(date),
                    )
                    .await,
                );
            }
            answers.extend(
                readers::one(world, &client, &mut readers::Known::new(), held, *facility, None)
                    .await,
            );
        }
    }
    settled
}
