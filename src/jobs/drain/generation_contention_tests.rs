//! Tests of `generation_contention.rs`.

use super::*;

/// Whether each drain snapshot gives a warning. A snapshot is (second, generation found, last
/// generation begun by this server).
fn told(looks: &[(u64, i64, i64)]) -> Vec<bool> {
    let (mut contention, start) = (GenerationContention::default(), Instant::now());
    looks
        .iter()
        .map(|(second, generation, own)| {
            contention.see(*generation, *own, start + Duration::from_secs(*second))
        })
        .collect()
}

#[test]
fn three_generations_of_others_within_a_minute_are_logged_once_a_minute() {
    let looks = [
        (0, 7, 0),
        (1, 9, 8),
        (2, 11, 10),
        (3, 13, 12),
        (4, 15, 14),
        (62, 17, 16),
        (63, 19, 18),
        (64, 21, 20),
    ];
    assert_eq!(told(&looks), [false, false, false, true, false, false, true, false]);
}

#[test]
fn restarts_of_redis_and_own_generations_are_not_logged() {
    assert!(
        !told(&[(0, 1, 0), (30, 2, 0), (60, 3, 0), (95, 4, 0)]).contains(&true),
        "now and then"
    );
    assert!(
        !told(&[(0, 1, 0), (1, 2, 2), (2, 3, 3), (3, 4, 4), (4, 4, 4)]).contains(&true),
        "all its own"
    );
    assert_eq!(told(&[(0, 100, 0)]), [false], "what was begun before it came");
}

#[test]
fn each_of_many_between_two_looks_counts() {
    assert_eq!(told(&[(0, 7, 0), (1, 10, 0)]), [false, true]);
}
