-- Which local day a row is of, and which life of its facility. Replicas of the release before go on working beside it.

-- The first instant of the day, and the first after it, in the zone that the figures were counted in: the same date of another zone is
-- another day. They hold where day_as_of equals as_of; a release that does not know them changes only the latter.
ALTER TABLE dashboard_daily_summary ADD COLUMN day_start timestamptz, ADD COLUMN day_end timestamptz, ADD COLUMN day_as_of timestamptz;

-- The counter when the facility was removed last: greater versions only are figures of the facility that has come back since.
ALTER TABLE facility_state ADD COLUMN removed_at_version bigint NOT NULL DEFAULT 0;

-- In this history of the database each version is greater: a backup that was restored knows nothing of those that were given after it was made.
ALTER TABLE fleet ADD COLUMN versions_from bigint NOT NULL DEFAULT 0;
