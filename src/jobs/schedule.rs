//! When a scheduled job is due, by a cron expression and the database's clock.

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use tokio_cron_scheduler::JobSchedulerError;

/// The instants of a cron expression: six fields in UTC, seconds first. It is parsed as
/// tokio-cron-scheduler parses it.
#[derive(Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Parses the expression; fails when it is not valid.
    pub fn parse(expression: &str) -> Result<Self, JobSchedulerError> {
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        parser.parse(expression).map(Schedule).map_err(|_| JobSchedulerError::ParseSchedule)
    }

    /// The latest tick at or before `now_ms`; both in milliseconds since 1970. `None` when there
    /// never was one.
    pub fn latest(&self, now_ms: i64) -> Option<i64> {
        // Ticks are at whole seconds.
        let now: DateTime<Utc> = DateTime::from_timestamp(now_ms.div_euclid(1000), 0)?;
        let tick = self.0.find_previous_occurrence(&now, true).ok()?;
        Some(tick.timestamp() * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(expression: &str, now: &str) -> Option<String> {
        let now: jiff::Timestamp = now.parse().unwrap();
        let tick_ms = Schedule::parse(expression).unwrap().latest(now.as_millisecond())?;
        Some(jiff::Timestamp::from_millisecond(tick_ms).unwrap().to_string())
    }

    #[test]
    fn the_latest_tick_is_the_last_instant_of_the_expression_that_is_not_in_the_future() {
        for (expression, now, tick) in [
            ("15 */5 * * * *", "2026-03-01T12:05:15Z", "2026-03-01T12:05:15Z"),
            ("15 */5 * * * *", "2026-03-01T12:05:15.999Z", "2026-03-01T12:05:15Z"),
            ("15 */5 * * * *", "2026-03-01T12:05:14.999Z", "2026-03-01T12:00:15Z"),
            ("15 */5 * * * *", "2026-01-01T00:00:00Z", "2025-12-31T23:55:15Z"),
            ("0 0 3 * * SUN", "2026-11-21T12:00:00Z", "2026-11-15T03:00:00Z"),
            ("0 0 0 29 2 *", "2026-11-21T12:00:00Z", "2024-02-29T00:00:00Z"),
            ("* * * * * *", "2026-11-21T12:00:00.5Z", "2026-11-21T12:00:00Z"),
        ] {
            assert_eq!(latest(expression, now).as_deref(), Some(tick), "{expression} at {now}");
        }
    }

    #[test]
    fn every_second_has_the_tick_that_a_search_finds() {
        let schedule = Schedule::parse("7,40 3-59/9 */2 * * *").unwrap();
        let mut last = None;
        for second in 1_763_769_600..1_763_769_600 + 86_400 {
            let at: DateTime<Utc> = DateTime::from_timestamp(second, 0).unwrap();
            if schedule.0.is_time_matching(&at).unwrap() {
                last = Some(second * 1000);
            }
            if last.is_some() {
                assert_eq!(schedule.latest(second * 1000 + 999), last);
            }
        }
        assert!(last.is_some());
    }
}
