-- Which local day a row is of, and which life of its facility. The release before goes on working on it.

-- The first instant of the day, and the first after it, in the zone that the figures were counted in: the same date of another zone is
-- another day. They hold where day_as_of equals as_of; a release that does not know them changes only the latter.
ALTER TABLE dashboard_daily_summary ADD COLUMN day_start INTEGER;
ALTER TABLE dashboard_daily_summary ADD COLUMN day_end INTEGER;
ALTER TABLE dashboard_daily_summary ADD COLUMN day_as_of INTEGER;

-- The counter when the facility was removed last: greater versions only are figures of the facility that has come back since.
ALTER TABLE facility_state ADD COLUMN removed_at_version INTEGER NOT NULL DEFAULT 0;

-- In this history of the database each version is greater: a backup that was restored knows nothing of those that were given after it was made.
ALTER TABLE fleet ADD COLUMN versions_from INTEGER NOT NULL DEFAULT 0;

-- Marks of ids that are none, which whoever writes with the checks off can leave: they are left out, and found without a look at all others.
CREATE INDEX summary_marks_unreadable ON summary_marks (facility_id) WHERE length(facility_id) <> 16;
