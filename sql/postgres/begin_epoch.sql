-- $1 the epoch that ends, $2 the new salt. A second caller finds another epoch and changes nothing.
-- No facility has had as many changes as the milliseconds since 1970, so no version of the lost
-- epoch is given to other figures.
UPDATE fleet SET salt = $2, watermark_at = NULL, watermark_generation = 0, watermark_number = 0, watermark_epoch = fleet_epoch($2),
    versions_from = greatest(versions_from, floor(extract(epoch FROM clock_timestamp()) * 1000.0)::bigint, (SELECT max(version) FROM facility_state))
WHERE fleet_epoch(salt) = $1
