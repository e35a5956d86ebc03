-- The local day of a row, and the life of its facility. Replicas of the last release go on working
-- on these tables.

-- The bounds of the day: its first instant, and the first instant after it, in the zone in which
-- the figures were counted. The same date in another zone is another day. The bounds are right if
-- day_as_of equals as_of: a release that does not know them changes only as_of.
ALTER TABLE dashboard_daily_summary ADD COLUMN day_start timestamptz, ADD COLUMN day_end timestamptz, ADD COLUMN day_as_of timestamptz;

-- The version counter when the facility was last removed. Only greater versions are figures of the
-- facility's present life.
ALTER TABLE facility_state ADD COLUMN removed_at_version bigint NOT NULL DEFAULT 0;

-- In this epoch of the database each version is greater than this number. A restored backup does
-- not have the versions that were given after it was made.
ALTER TABLE fleet ADD COLUMN versions_from bigint NOT NULL DEFAULT 0;
