-- While nothing can be published: keeps only the last version of each day.
DELETE FROM outbox
WHERE (facility_id, date, version) NOT IN (SELECT facility_id, date, max(version) FROM outbox GROUP BY facility_id, date)
