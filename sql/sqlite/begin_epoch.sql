-- $1 the epoch that ends, $2 the new salt, $3 now. A second caller finds another epoch and changes
-- nothing. No facility has had as many changes as the milliseconds since 1970, so no version of the
-- lost epoch is given to other figures.
UPDATE fleet SET salt = $2, watermark_at = NULL, watermark_generation = 0, watermark_number = 0, watermark_epoch = $2,
    versions_from = max(versions_from, $3, ifnull((SELECT max(version) FROM facility_state), 0))
WHERE salt = $1
