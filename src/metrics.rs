//! All metrics. Their names and labels are part of the interface. No label carries an id.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, process_collector::ProcessCollector,
};

/// Buckets from 50 µs, the time of a memory hit, to 5 s, the time-out of a refresh.
const SECONDS: [f64; 15] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    5.0,
];

/// What made a refresh run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Schedule,
    Read,
    Event,
    Request,
}

impl Trigger {
    /// The value of the label `trigger`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Read => "read",
            Trigger::Event => "event",
            Trigger::Request => "request",
        }
    }
}

/// The metrics. Each field is one; its help text in `new` says what it counts and in which unit.
pub struct Metrics {
    registry: Registry,
    reads: IntCounterVec,
    /// The counter of memory hits, looked up once.
    pub reads_fresh_memory: IntCounter,
    pub read_duration: Histogram,
    pub refreshes: IntCounterVec,
    pub refresh_duration: HistogramVec,
    pub drift_rows: IntCounter,
    pub audited_rows: IntCounter,
    pub watermark_age: prometheus::Gauge,
    pub verified_through: IntGauge,
    pub events: IntCounterVec,
    pub http_requests: IntCounterVec,
    pub http_duration: HistogramVec,
    pub panics: IntCounter,
    pub stream_gaps: IntCounterVec,
    pub publications: IntCounterVec,
    pub epochs: IntCounter,
    pub standby_mismatches: IntCounter,
    pub marks_visible: IntGauge,
    pub triggers_off: IntGauge,
    pub job_runs: IntCounterVec,
    pub cache_entries: IntGauge,
    pub cache_bytes: IntGauge,
    pub connections: IntGaugeVec,
    pub ingest_waiting: IntGauge,
    pub unknown_zones: IntGauge,
    pub unreadable_rows: IntGauge,
    pub redis_requests: IntCounterVec,
    /// Shown only where Redis is configured.
    pub redis_up: IntGaugeVec,
    pub change_stream_state: IntGaugeVec,
    pub change_stream_left: IntGauge,
}

impl Metrics {
    /// Registers all metrics. `Err` where two have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
                let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histograms =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<HistogramVec> {
                let metric = HistogramVec::new(
                    HistogramOpts::new(name, help).buckets(SECONDS.to_vec()),
                    labels,
                )?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let reads = counters(
            "summary_reads_total",
            "Reads of one summary, by outcome and by the tier that answered.",
            &["outcome", "tier"],
        )?;
        let read_duration = Histogram::with_opts(
            HistogramOpts::new(
                "summary_read_duration_seconds",
                "Time to answer a read of one summary.",
            )
            .buckets(SECONDS.to_vec()),
        )?;
        registry.register(Box::new(read_duration.clone()))?;
        let watermark_age = prometheus::Gauge::new(
            "summary_watermark_age_seconds",
            "Age of the watermark, the instant as of which every summary is proven exact; before \
             the first watermark, the age of the process.",
        )?;
        registry.register(Box::new(watermark_age.clone()))?;
        let connections = IntGaugeVec::new(
            Opts::new("database_connections", "Connections, by pool."),
            &["pool", "state"],
        )?;
        registry.register(Box::new(connections.clone()))?;
        let redis_up = IntGaugeVec::new(
            Opts::new("redis_up", "1 while Redis is connected, 0 while the breaker is open."),
            &["topology"],
        )?;
        registry.register(Box::new(redis_up.clone()))?;
        let change_stream_state = IntGaugeVec::new(
            Opts::new(
                "change_stream_state",
                "1 for the stage of this replica in the change stream, 0 for the other stages.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(change_stream_state.clone()))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Metrics {
            reads_fresh_memory: reads.with_label_values(&["fresh", "memory"]),
            reads,
            read_duration,
            refreshes: counters(
                "summary_refreshes_total",
                "Refreshed rows, by what made the refresh run.",
                &["trigger", "outcome"],
            )?,
            refresh_duration: histograms(
                "summary_refresh_duration_seconds",
                "Time of one refresh transaction.",
                &["trigger"],
            )?,
            drift_rows: counter(
                "summary_drift_rows_total",
                "Rows found wrong with no mark visible and no expiry due: a change was not marked.",
            )?,
            audited_rows: counter(
                "summary_audited_rows_total",
                "Rows that the sample audit derived again, to compare.",
            )?,
            watermark_age,
            verified_through: gauge(
                "summary_verified_through_seconds",
                "Unix time, in seconds, of the last complete rebuild's snapshot.",
            )?,
            events: counters("events_total", "Events, by type and outcome.", &["type", "outcome"])?,
            http_requests: counters(
                "http_requests_total",
                "Requests, by matched route.",
                &["route", "method", "status"],
            )?,
            http_duration: histograms(
                "http_request_duration_seconds",
                "Time to answer a request.",
                &["route", "method", "status"],
            )?,
            panics: counter("panics_total", "Panics caught in handlers and jobs.")?,
            stream_gaps: counters(
                "stream_gaps_total",
                "Gaps in the change stream. Each begins a new stream session: what memory holds \
                 is proven anew.",
                &["reason"],
            )?,
            publications: counters(
                "stream_publications_total",
                "Messages with committed changes: published to the change stream, or left to the \
                 drain.",
                &["outcome"],
            )?,
            epochs: counter(
                "epochs_total",
                "Times that another epoch of the database began, so that all that was held was \
                 dropped.",
            )?,
            standby_mismatches: counter(
                "standby_mismatches_total",
                "Answers of standbys that were of another epoch of the database than the primary, \
                 and were not used.",
            )?,
            marks_visible: gauge(
                "summary_marks_visible",
                "Marks in the last drain snapshot, up to the drain's batch size.",
            )?,
            triggers_off: gauge(
                "source_triggers_off",
                "Triggers on the source tables that are missing or off, so that what other \
                 programs write leaves no mark.",
            )?,
            job_runs: counters(
                "job_runs_total",
                "Runs of the scheduled jobs.",
                &["job", "outcome"],
            )?,
            ingest_waiting: gauge(
                "ingest_requests_waiting",
                "Requests with events that wait for their transaction to begin.",
            )?,
            unknown_zones: gauge(
                "facilities_in_unknown_zones",
                "Facilities whose time zone does not exist: their days are counted in UTC.",
            )?,
            unreadable_rows: gauge(
                "database_unreadable_rows",
                "Rows found since the start that could not be read, or only in part.",
            )?,
            cache_entries: gauge("summary_cache_entries", "Summaries held in memory.")?,
            cache_bytes: gauge(
                "summary_cache_bytes",
                "Bytes of the summaries in memory, with overhead.",
            )?,
            redis_requests: counters(
                "redis_requests_total",
                "Commands to Redis, by outcome.",
                &["command", "outcome"],
            )?,
            redis_up,
            change_stream_state,
            change_stream_left: gauge(
                "change_stream_messages_left",
                "Messages to read before this replica has caught up with the stream.",
            )?,
            connections,
            registry,
        })
    }

    /// Counts a read by its outcome and by the tier that answered.
    pub fn count_read(&self, outcome: &'static str, tier: &'static str) {
        self.reads.with_label_values(&[outcome, tier]).inc();
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
