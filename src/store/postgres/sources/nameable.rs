//! Times that are bounded before they are converted.

/// A time without a zone, bounded before it becomes a timestamp, and an instant: a date may lie
/// beyond both. What is out of bounds lies beyond the days that answers can name.
pub(super) fn nameable(at: &str, is_date: bool) -> String {
    let (at, of) = match is_date {
        true => (format!("({at})::date"), "date"),
        false => (format!("({at})"), "timestamp"),
    };
    format!(
        "(CASE WHEN {at} < '4000-01-01 BC'::{of} THEN '4000-01-01 BC'::timestamp WHEN {at} >= \
         '11000-01-01'::{of} THEN '11000-01-01'::timestamp ELSE ({at})::timestamp END)"
    )
}
