//! A simulation of several replicas in one thread. It runs the service's own code (`Memory`, the
//! messages of the stream, what a pass of the drain may announce, what a row of a tier proves)
//! under random schedules, one small step of one actor at a time. The stream, the Redis tier, the
//! database and the clock are simulated, and so are their faults. In some schedules there is only
//! one server, which keeps the stream within its process. After each step of a replica, all its
//! possible answers are checked: does one lack a change that was committed at or before the instant
//! that it claims? In half of the schedules, replicas have live clients, and what each of them is
//! told is checked, too (`subscribers`).
//!
//! `make replay SEED=123 [MUTANT=Name]` replays one schedule and prints its steps. `make simulate`
//! runs many (their number is `SCHEDULES`), and then breaks each rule in turn. `make simulate
//! MUTANT=Name` breaks only that rule, and prints the steps when its schedule is written by hand.

mod by_hand;
mod database;
mod derive;
mod directory;
mod drain;
mod events;
mod fills;
mod judge;
mod locks;
mod mutants;
mod pace;
mod places;
mod redis;
mod refresh;
mod removal;
mod replica;
mod schedule;
mod source_rows;
mod sources;
mod stage;
mod stream;
mod subscribers;
mod truth;
mod views;
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use mutants::Mutant;
use schedule::{Asked, run};
use stage::play;

/// How many schedules run by default: as many as an optimized build, as `make simulate` makes it,
/// can run.
const SCHEDULES: u64 = 100_000;
const THREADS: usize = 2;
/// A broken rule must be found within this many schedules.
const FOUND_WITHIN: u64 = 40_000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?} and should be a whole number"))
    })
}

fn mutant() -> Option<Mutant> {
    let name = env::var("MUTANT").ok().filter(|name| !name.is_empty())?;
    let found = Mutant::ALL.into_iter().find(|known| format!("{known:?}") == name);
    Some(
        found
            .unwrap_or_else(|| panic!("MUTANT is {name:?} and should be one of {:?}", Mutant::ALL)),
    )
}

/// The first seed with a wrong answer, and that answer; or how much was checked.
fn first_wrong_answer(schedules: u64, mutant: Option<Mutant>) -> Result<Asked, (u64, String)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut asked = Asked::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= schedules {
                return Ok(asked);
            }
            let of_one = run(seed, mutant, false).map_err(|wrong| {
                next.store(schedules, Ordering::Relaxed);
                (seed, wrong)
            })?;
            asked.answers += of_one.answers;
            asked.proven += of_one.proven;
            asked.lists += of_one.lists;
            asked.claims += of_one.claims;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a schedule does not panic"))
            .try_fold(Asked::default(), |all, one| {
                let one = one?;
                Ok(Asked {
                    answers: all.answers + one.answers,
                    proven: all.proven + one.proven,
                    lists: all.lists + one.lists,
                    claims: all.claims + one.claims,
                })
            })
    })
}

#[test]
fn no_answer_lacks_a_change_committed_by_the_time_it_claims() {
    if let Some(seed) = number("SEED") {
        match run(seed, mutant(), true) {
            Ok(asked) => println!("seed {seed} gives no wrong answer: {asked:?}"),
            Err(wrong) => panic!("seed {seed} gives a wrong answer: {wrong}"),
        }
        return;
    }
    if mutant().is_some() {
        return;
    }
    let (started, schedules) = (Instant::now(), number("SCHEDULES").unwrap_or(SCHEDULES));
    match first_wrong_answer(schedules, None) {
        Ok(asked) => {
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "{schedules} schedules in {seconds:.1} s, {:.0} a second: {asked:?}",
                schedules as f64 / seconds
            );
            assert!(
                asked.proven > schedules,
                "watermarks proved too few answers for a test of the rules: {asked:?}"
            );
            assert!(
                asked.claims > schedules,
                "subscribers heard too few heartbeats for a test of the hub: {asked:?}"
            );
        }
        Err((seed, wrong)) => panic!("{wrong}\nreplay it: make replay SEED={seed}"),
    }
}

#[test]
fn each_broken_rule_of_the_protocol_is_found() {
    if number("SEED").is_some() {
        return;
    }
    let only = mutant();
    let mut missed = Vec::new();
    for mutant in Mutant::ALL.into_iter().filter(|mutant| only.is_none_or(|only| only == *mutant)) {
        let found = match mutant.script() {
            Some(script) => {
                play(script, None, false).unwrap_or_else(|wrong| {
                    panic!("the schedule by hand for {mutant:?} is wrong without it: {wrong}")
                });
                play(script, Some(mutant), only.is_some())
                    .err()
                    .map(|wrong| format!("by hand: {wrong}"))
            }
            None => first_wrong_answer(FOUND_WITHIN, Some(mutant))
                .err()
                .map(|(seed, wrong)| format!("schedule {seed}: {wrong}")),
        };
        match found {
            Some(found) => println!("{mutant:?}: {found}"),
            None => missed.push(mutant),
        }
    }
    assert!(
        missed.is_empty(),
        "{FOUND_WITHIN} schedules did not find {missed:?}: they need more faults"
    );
}
