-- Events may add what they changed to a stored row, instead of deriving the day from its sources. The release before goes on working.

-- Equals as_of where the row was last written by adding a difference. A release that does not know it changes only as_of.
ALTER TABLE dashboard_daily_summary ADD COLUMN difference_as_of INTEGER;
