//! What it costs to know again who sends a request: the processor time of `Guard::remembered`, for
//! one API key, and for 10,000 tokens in turn. `load-tests/bench.sh access` runs it optimized, and
//! compares it with the goals. It is not part of `make test`: a time is no pass or fail.

use std::{hint::black_box, sync::Arc, time::Duration};

use facility_summary::{
    access::{
        Browsers, Guard,
        audit::Actor,
        key_ring::{self, KeyWish},
        tokens::{
            Tokens,
            mint::{Mint, mint},
        },
    },
    config::{Settings, auth::Secret},
    domain::access::{FacilityScope, Role},
    startup::Core,
};
use uuid::Uuid;

const TOKENS: usize = 10_000;
const ROUNDS: usize = 31;

/// The time that this thread has been on a processor, in nanoseconds.
fn processor_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    stat.split(' ').next().and_then(|time| time.parse().ok()).expect("a number")
}

/// The median over the rounds of the time of one look, in microseconds.
fn of_one(guard: &Guard, credentials: &[String], turns: usize) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = processor_ns();
            for _ in 0..turns {
                for credential in credentials {
                    let who = guard.remembered(black_box(credential));
                    assert!(black_box(who).is_some(), "it is remembered");
                }
            }
            let looks = (turns * credentials.len()) as f64;
            (processor_ns() - began) as f64 / looks / 1_000.0
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[ROUNDS / 2]
}

#[tokio::test]
async fn the_cost_of_a_credential_that_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::load(None, None).unwrap();
    settings.database.url = format!("sqlite://{}/cost.db", folder.path().display());
    settings.auth.secret = Some(Secret::new("a secret of this measurement, long enough"));
    let core = Core::open(settings).await.unwrap();
    let auth = &core.settings.auth;
    let tokens = Arc::new(Tokens::open(auth).unwrap());
    let (store, directory) = (core.store.clone(), core.directory.clone());
    let (clock, metrics) = (core.clock.clone(), core.metrics.clone());
    let browsers = Browsers::of(auth);
    let guard = Arc::new(Guard::new(store, directory, clock, tokens, metrics, browsers));
    let wish = KeyWish {
        name: "the measurement".into(),
        role: Role::Viewer,
        facilities: None,
        may_read: false,
        expires_ms: None,
    };
    let by = Actor { id: "the measurement".into(), address: None };
    let (_, key) = key_ring::add(&*core.store, wish, by).await.unwrap();
    guard.verify(&key.text).await.unwrap();
    let facilities: Vec<Uuid> = (0..10).map(|_| Uuid::new_v4()).collect();
    let what = Mint {
        role: Role::Viewer,
        facilities: FacilityScope::of_ids(facilities),
        ttl: Duration::from_secs(86_400),
        name: None,
    };
    let now_ms = core.clock.now_ms();
    let mut credentials = Vec::new();
    for _ in 0..TOKENS {
        let token = mint(auth, &what, now_ms).unwrap().token;
        guard.verify(&token).await.unwrap();
        credentials.push(token);
    }
    let key_us = of_one(&guard, &[key.text], 100_000);
    let tokens_us = of_one(&guard, &credentials, 5);
    let bytes = credentials[0].len();
    println!("key_us={key_us:.4} tokens_us={tokens_us:.4} tokens={TOKENS} token_bytes={bytes}");
    core.store.close().await;
}
