//! The headers that say how fresh an answer is: `Age`, `Cache-Control`, `Cache-Status`.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};

use super::state::AppState;
use crate::service::{
    lists::{Source, day_of_all::DayPage},
    ranges::RangeAnswer,
    reads::answer::{Answer, Forward, Tier},
};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How long, after the end of its freshness, a client may still show an answer while it asks for a
/// new one.
const STALE_WHILE_REVALIDATE_SECONDS: i64 = 30;

/// An answer that nobody stores.
pub(super) fn no_store(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    response
}

/// A header value of whole seconds, 2^31 at most (RFC 9111, 1.2.2). Most answers need one of the
/// first few values, which are not formatted.
pub(super) fn seconds_value(ms: i64) -> HeaderValue {
    const FEW: [&str; 6] = ["0", "1", "2", "3", "4", "5"];
    const MOST: i64 = 1 << 31;
    let seconds = (ms.max(0) / 1000).min(MOST);
    match usize::try_from(seconds).ok().and_then(|s| FEW.get(s)) {
        Some(text) => HeaderValue::from_static(text),
        None => HeaderValue::from(seconds),
    }
}

/// Lets a client reuse the answer within its bound, but no longer than the requested name means the
/// same day.
pub(super) fn cache_control(app: &AppState, now_ms: i64, until_ms: Option<i64>) -> HeaderValue {
    let bound = i64::try_from(app.settings.freshness.max_age().as_secs()).unwrap_or(i64::MAX);
    let left = until_ms.map_or(i64::MAX, |until| (until - now_ms).max(0) / 1000);
    let revalidate = STALE_WHILE_REVALIDATE_SECONDS.min(bound);
    match (bound, left > bound.saturating_add(revalidate)) {
        (120, true) => HeaderValue::from_static("private, max-age=120, stale-while-revalidate=30"),
        (300, true) => HeaderValue::from_static("private, max-age=300, stale-while-revalidate=30"),
        _ => {
            let max_age = bound.min(left);
            let text = format!(
                "private, max-age={max_age}, stale-while-revalidate={}",
                revalidate.min(left - max_age)
            );
            HeaderValue::try_from(text)
                .unwrap_or_else(|_| HeaderValue::from_static("private, max-age=0"))
        }
    }
}

/// `Cache-Status` of a single summary.
pub(super) fn cache_status(answer: &Answer) -> HeaderValue {
    status(answer.forward, answer.tier, answer.collapsed, answer.source_unavailable)
}

/// `Cache-Status` of a range.
pub(super) fn range_status(answer: &RangeAnswer) -> HeaderValue {
    status(answer.forward, answer.tier, answer.collapsed, answer.source_unavailable)
}

fn status(
    forward: Option<Forward>,
    tier: Tier,
    collapsed: bool,
    source_unavailable: bool,
) -> HeaderValue {
    let Some(forward) = forward else {
        return HeaderValue::from_static("facility-summary; hit; detail=memory");
    };
    if source_unavailable {
        return HeaderValue::from_static("facility-summary; fwd=stale; detail=source-unavailable");
    }
    let forward = match forward {
        Forward::Miss => "miss",
        Forward::Stale => "stale",
        Forward::Request => "request",
    };
    let detail = match tier {
        Tier::Memory => "memory",
        Tier::Redis => "redis",
        Tier::Table => "table",
        Tier::Source => "source",
    };
    let collapsed = if collapsed { "; collapsed" } else { "" };
    let text = format!("facility-summary; fwd={forward}; detail={detail}{collapsed}");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("facility-summary"))
}

/// `Cache-Status` of a day of all facilities.
pub(super) fn list_status(page: &DayPage) -> HeaderValue {
    let tier = match page.source {
        Source::Memory | Source::Unavailable => Tier::Memory,
        Source::Table => Tier::Table,
        Source::Refreshed => Tier::Source,
    };
    status(page.forward, tier, false, page.source == Source::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_in_whole_seconds_that_every_client_can_hold() {
        for (ms, want) in
            [(-1, "0"), (0, "0"), (5_999, "5"), (6_000, "6"), (i64::MAX, "2147483648")]
        {
            assert_eq!(seconds_value(ms), want, "{ms} ms");
        }
    }
}
