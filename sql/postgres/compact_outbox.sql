-- While nothing can be published: keeps only the last version of each day.
DELETE FROM outbox o
USING (SELECT facility_id, date, max(version) AS version FROM outbox GROUP BY facility_id, date) AS last
WHERE o.facility_id = last.facility_id AND o.date = last.date AND o.version < last.version
