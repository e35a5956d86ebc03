//! All metrics. Their names and labels are part of the interface. No label carries an id.

mod register;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder, process_collector::ProcessCollector,
};

use register::{counter, counters, float_gauge, gauge, gauges, histogram, histograms};

/// What made a refresh run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshTrigger {
    /// A rebuild, a repair, an expiry, or a new day.
    Schedule,
    /// A read that found nothing fresh enough.
    Read,
    /// An event, or a mark of another program's change.
    Event,
    /// A client that asked for a refresh, or an import.
    Request,
}

impl RefreshTrigger {
    /// The value of the label `trigger`.
    pub const fn as_str(self) -> &'static str {
        match self {
            RefreshTrigger::Schedule => "schedule",
            RefreshTrigger::Read => "read",
            RefreshTrigger::Event => "event",
            RefreshTrigger::Request => "request",
        }
    }
}

/// Declares `Metrics`: each entry is a field, its type, and how it is registered.
macro_rules! metrics {
    (
        $($field:ident: $type:ty = $register:ident($($argument:expr),+ $(,)?);)+
        => $held:ident: $held_type:ty = $cell:expr;
    ) => {
        /// The metrics. Each field is one; its help text says what it counts and in which unit.
        pub struct Metrics {
            registry: Registry,
            /// The counter of memory hits, looked up once.
            pub $held: $held_type,
            $(pub $field: $type,)+
        }

        impl Metrics {
            /// Registers all metrics. `Err` where two have the same name.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                registry.register(Box::new(ProcessCollector::for_self()))?;
                $(let $field = $register(&registry, $($argument),+)?;)+
                let $held = $cell;
                Ok(Metrics { registry, $held, $($field),+ })
            }
        }
    };
}

metrics! {
    reads: IntCounterVec = counters(
        "summary_reads_total",
        "Reads of one summary, by outcome and by the tier that answered.",
        &["outcome", "tier"],
    );
    table_reads: IntCounterVec = counters(
        "summary_table_reads_total",
        "Statements that read the summary table for single days and for views, by server.",
        &["server"],
    );
    table_read_days: IntCounterVec = counters(
        "summary_table_read_days_total",
        "Days that these statements read.",
        &["server"],
    );
    read_duration: Histogram = histogram(
        "summary_read_duration_seconds",
        "Time to answer a read of one summary.",
    );
    refreshes: IntCounterVec = counters(
        "summary_refreshes_total",
        "Refreshed rows, by what made the refresh run.",
        &["trigger", "outcome"],
    );
    refresh_duration: HistogramVec = histograms(
        "summary_refresh_duration_seconds",
        "Time of one refresh transaction.",
        &["trigger"],
    );
    drift_rows: IntCounter = counter(
        "summary_drift_rows_total",
        "Rows found wrong with no mark visible and no expiry due: a change was not marked.",
    );
    drift_by_difference: IntCounter = counter(
        "summary_drift_by_difference_rows_total",
        "Those of summary_drift_rows_total that were last written by adding a difference.",
    );
    event_days: IntCounterVec = counters(
        "summary_event_days_total",
        "Facility-days that events touched: by adding a difference, or derived, and why.",
        &["by", "reason"],
    );
    wrong_differences: IntCounter = counter(
        "summary_wrong_differences_total",
        "Differences that gave other figures than the sources, so that the events were refused \
         (refresh.verify_differences).",
    );
    audited_rows: IntCounter = counter(
        "summary_audited_rows_total",
        "Rows that the sample audit derived again, to compare.",
    );
    live_clients: IntGaugeVec = gauges(
        "live_clients",
        "Clients that are connected for live updates.",
        &["transport"],
    );
    live_connections: IntCounterVec = counters(
        "live_connections_total",
        "Clients that came for live updates, by what became of them.",
        &["transport", "outcome"],
    );
    live_messages: IntCounterVec = counters(
        "live_messages_total",
        "Messages to live clients.",
        &["transport"],
    );
    live_bytes: IntCounterVec = counters(
        "live_bytes_total",
        "Bytes of messages to live clients.",
        &["transport"],
    );
    live_dropped: IntCounter = counter(
        "live_dropped_total",
        "States of a facility that a live client did not get, as a newer one took their place.",
    );
    live_push_delay: HistogramVec = histograms(
        "live_push_delay_seconds",
        "Time from when memory takes a change in, right after its commit, until it is written to \
         a live client.",
        &["transport"],
    );
    watermark_age: Gauge = float_gauge(
        "summary_watermark_age_seconds",
        "Age of the watermark, the instant as of which every summary is proven exact; before the \
         first watermark, the age of the process.",
    );
    verified_through: IntGauge = gauge(
        "summary_verified_through_seconds",
        "Unix time, in seconds, of the last complete rebuild's snapshot.",
    );
    events: IntCounterVec = counters(
        "events_total",
        "Events, by type and outcome.",
        &["type", "outcome"],
    );
    sign_ins: IntCounterVec = counters(
        "sign_ins_total",
        "Sign-ins of people, by way (password, provider, setup) and outcome.",
        &["way", "outcome"],
    );
    password_hashes: IntCounter = counter(
        "password_hashes_total",
        "Passwords that were hashed: to verify one, or to store one.",
    );
    http_requests: IntCounterVec = counters(
        "http_requests_total",
        "Requests, by matched route.",
        &["route", "method", "status"],
    );
    http_duration: HistogramVec = histograms(
        "http_request_duration_seconds",
        "Time to answer a request.",
        &["route", "method", "status"],
    );
    limited: IntCounterVec = counters(
        "http_requests_limited_total",
        "Requests refused because their client had used up a budget, by the budget and the kind of \
         client.",
        &["limit", "client"],
    );
    clients: IntGauge = gauge(
        "http_clients",
        "Clients that have budgets of their own: principals and addresses that asked lately.",
    );
    connections_refused: IntCounter = counter(
        "http_connections_refused_total",
        "Connections that were one too many for their address.",
    );
    certificate_expires: IntGauge = gauge(
        "server_tls_certificate_expires_timestamp_seconds",
        "Unix time at which the certificate in use expires; 0 without TLS.",
    );
    certificate_refused: IntGauge = gauge(
        "server_tls_certificate_refused",
        "1 while the files of the certificate cannot be used, so that the one before is kept.",
    );
    access_denials: IntCounterVec = counters(
        "access_denials_total",
        "Requests that were not let in, or not further: missing, invalid or unavailable \
         credentials, and what role or facility do not allow.",
        &["kind"],
    );
    token_refusals: IntCounterVec = counters(
        "access_token_refusals_total",
        "Tokens that were not accepted when they were verified, by what was wrong first.",
        &["reason"],
    );
    credential_verifications: IntCounterVec = counters(
        "access_verifications_total",
        "Credentials that were verified, as they were not remembered: keys and tokens.",
        &["kind"],
    );
    clock_set_back: IntGauge = gauge(
        "access_clock_set_back_seconds",
        "By how much the database's clock is behind the time by which credentials end; 0 unless it \
         was set back.",
    );
    panics: IntCounter = counter("panics_total", "Panics caught in handlers and jobs.");
    stream_gaps: IntCounterVec = counters(
        "stream_gaps_total",
        "Gaps in the change stream. Each begins a new stream session: what memory holds is proven \
         anew.",
        &["reason"],
    );
    publications: IntCounterVec = counters(
        "stream_publications_total",
        "Messages with committed changes: published to the change stream, or left to the drain.",
        &["outcome"],
    );
    epochs: IntCounter = counter(
        "epochs_total",
        "Times that another epoch of the database began, so that all that was held was dropped.",
    );
    standby_mismatches: IntCounter = counter(
        "standby_mismatches_total",
        "Answers of standbys that were of another epoch of the database than the primary, and \
         were not used.",
    );
    marks_visible: IntGauge = gauge(
        "summary_marks_visible",
        "Marks in the last drain snapshot, up to the drain's batch size.",
    );
    triggers_off: IntGauge = gauge(
        "source_triggers_off",
        "Triggers on the source tables that are missing or off, so that what other programs write \
         leaves no mark.",
    );
    source_changes: IntGaugeVec = gauges(
        "source_changes",
        "Changes of the mapped tables since the mapping was first used, or accepted: those that \
         break it, and others.",
        &["kind"],
    );
    source_lag: IntGaugeVec = gauges(
        "source_lag_seconds",
        "Seconds since the publisher of a subscription that fills mapped tables was last heard of, \
         in the last comparison; -1 while the subscription does not run.",
        &["subscription"],
    );
    source_check_differences: IntGauge = gauge(
        "source_check_differences",
        "Figures that the owner's own queries had otherwise, in the last comparison.",
    );
    writes_noticed: IntGauge = gauge(
        "source_writes_noticed",
        "Whether writes of other programs leave marks: 1, or 0 where tables of theirs are mapped \
         and no triggers watch them.",
    );
    job_runs: IntCounterVec = counters(
        "job_runs_total",
        "Runs of the scheduled jobs.",
        &["job", "outcome"],
    );
    ingest_waiting: IntGauge = gauge(
        "ingest_requests_waiting",
        "Requests with events that wait for their transaction to begin.",
    );
    unknown_zones: IntGauge = gauge(
        "facilities_in_unknown_zones",
        "Facilities whose time zone does not exist: their days are counted in UTC.",
    );
    unreadable_rows: IntGauge = gauge(
        "database_unreadable_rows",
        "Rows found since the start that could not be read, or only in part.",
    );
    source_odd_rows: IntGaugeVec = gauges(
        "source_odd_rows",
        "Rows of mapped tables that do not count, as their quantity is not a number, or beyond a \
         billion; in the days that this process derived last.",
        &["list"],
    );
    source_failing_days: IntGauge =
        gauge("source_failing_days", "Days whose mapped rows cannot be counted.");
    cache_entries: IntGauge = gauge("summary_cache_entries", "Summaries held in memory.");
    cache_bytes: IntGauge = gauge(
        "summary_cache_bytes",
        "Bytes of the summaries in memory, with overhead.",
    );
    redis_requests: IntCounterVec = counters(
        "redis_requests_total",
        "Commands to Redis, by outcome.",
        &["command", "outcome"],
    );
    redis_up: IntGaugeVec = gauges(
        "redis_up",
        "1 while Redis is connected, 0 while the breaker is open.",
        &["topology"],
    );
    change_stream_state: IntGaugeVec = gauges(
        "change_stream_state",
        "1 for the stage of this replica in the change stream, 0 for the other stages.",
        &["state"],
    );
    views: IntGauge = gauge(
        "summary_views",
        "Views held: days of all facilities that were asked for lately.",
    );
    view_bytes: IntGauge = gauge(
        "summary_view_bytes",
        "Bytes that views hold beside the entries, approximately: figures, orders, pages.",
    );
    view_renders: IntCounter = counter(
        "summary_view_renders_total",
        "Pages put together for readers of the day of all facilities.",
    );
    list_proofs: IntCounter = counter(
        "summary_list_proofs_total",
        "Times that the table was proven for readers of lists that took no older figures.",
    );
    view_changes: Histogram = histogram(
        "summary_view_change_duration_seconds",
        "Time to bring one entry into all views: its place in each order, and the totals.",
    );
    view_fills: IntCounter = counter(
        "summary_view_fills_total",
        "Times that views were filled from the table.",
    );
    change_stream_left: IntGauge = gauge(
        "change_stream_messages_left",
        "Messages to read before this replica has caught up with the stream.",
    );
    connections: IntGaugeVec = gauges(
        "database_connections",
        "Connections, by pool.",
        &["pool", "state"],
    );
    => reads_fresh_memory: IntCounter = reads.with_label_values(&["fresh", "memory"]);
}

impl Metrics {
    /// Counts a read by its outcome and by the tier that answered.
    pub fn count_read(&self, outcome: &'static str, tier: &'static str) {
        self.reads.with_label_values(&[outcome, tier]).inc();
    }

    /// Counts a statement that reads that many days from the summary table of the `primary` or a
    /// `standby`.
    pub fn count_table_read(&self, server: &'static str, days: usize) {
        self.table_reads.with_label_values(&[server]).inc();
        self.table_read_days.with_label_values(&[server]).inc_by(days as u64);
    }

    /// The exposition text for Prometheus.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be rendered");
        }
        text
    }
}
