-- While nothing can be published: of each day only the last version.
DELETE FROM outbox
WHERE (facility_id, date, version) NOT IN (SELECT facility_id, date, max(version) FROM outbox GROUP BY facility_id, date)
