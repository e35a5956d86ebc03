-- Days whose mapped rows cannot be counted, as an expression of the mapping fails on one of them. Their figures stay as they are: each such row of
-- dashboard_daily_summary ends to hold (next_expires_at) one millisecond after its as_of, so no watermark counts for it, on any replica. All others go on.
-- date -infinity: which days the facility has cannot be told. tried_at: when it was last counted in vain.
CREATE TABLE failing_day (
    facility_id uuid NOT NULL,
    date        date NOT NULL,
    words       text NOT NULL,
    since       timestamptz NOT NULL DEFAULT statement_timestamp(),
    tried_at    timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (facility_id, date)
);
CREATE INDEX failing_day_whole ON failing_day (facility_id) WHERE date = '-infinity';
