//! A fleet whose directory changes. Facilities in many zones are registered, renamed, removed,
//! registered again and moved to other zones; banks move between them; transactions stay open.
//! Writers use SQL and events side by side. Readers read singles, ranges and lists with every
//! directive. Replicas have random settings, and there are random faults. The database's
//! write-ahead log tells what is true. A round can be repeated, except for its timing, by its seed:
//! `make test-fleet-random SEED=n KIND=zones`.

mod faults;
mod figures;
mod judge;
mod judge_tests;
mod moves;
mod post;
mod readers;
mod round;
mod seen;
mod settings;
mod sql;
mod statements;
mod truth;
mod wal;
mod world;
mod writers;

use std::time::{Duration, Instant};

use settings::{Kind, Plan, any_seed};

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// One short round, for each run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_a_moving_directory_answers_truly() {
    let plan = Plan { seed: 7, kind: Kind::All, facilities: 36, seconds: 50, faults: true };
    let outcome = round::run(plan).await;
    eprintln!("{outcome}");
    assert!(
        outcome.answers > 500 && outcome.verdict.judged > 5_000,
        "the round had too few answers to show anything"
    );
    assert!(outcome.is_true(), "the round of seed {} had wrong answers: see above", plan.seed);
}

/// Runs rounds for MINUTES, each with another seed, from SEED on; of one KIND, or of all kinds in
/// turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "an hour: make test-fleet-random"]
async fn random_rounds_are_answered_truly() {
    let minutes = setting("MINUTES").unwrap_or(10);
    let (first, started) = (setting("SEED").unwrap_or_else(any_seed), Instant::now());
    let kind =
        std::env::var("KIND").ok().filter(|kind| !kind.is_empty()).map(|kind| Kind::named(&kind));
    let (mut rounds, mut answers, mut judged, mut faults, mut wrong) = (0, 0, 0, 0, Vec::new());
    while rounds == 0 || started.elapsed() < Duration::from_secs(60 * minutes) {
        let seed = first + rounds;
        let kind = kind.unwrap_or(
            [Kind::All, Kind::Zones, Kind::Removals, Kind::Banks, Kind::Lists, Kind::Figures]
                [rounds as usize % 6],
        );
        let (facilities, seconds) = (
            setting("FACILITIES").unwrap_or(36 + seed as usize % 5),
            setting("SECONDS").unwrap_or(60),
        );
        let plan =
            Plan { seed, kind, facilities, seconds, faults: setting("FAULTS").unwrap_or(1) > 0 };
        eprintln!("round {rounds}: {plan:?}");
        let outcome = round::run(plan).await;
        eprintln!("{outcome}");
        (rounds, answers, judged, faults) = (
            rounds + 1,
            answers + outcome.answers,
            judged + outcome.verdict.judged,
            faults + outcome.faults,
        );
        if !outcome.is_true() {
            wrong.push((plan.seed, plan.kind, outcome.bugs()));
        }
    }
    eprintln!(
        "{rounds} rounds, {answers} answers, {judged} judged, {faults} faults; not true: {wrong:?}"
    );
    assert!(wrong.is_empty(), "rounds with wrong answers, by seed, kind and number: {wrong:?}");
}
