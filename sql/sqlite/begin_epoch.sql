-- $1 the epoch that ends, $2 the new salt. Whoever comes second finds another epoch and changes nothing.
UPDATE fleet SET salt = $2, watermark_at = NULL, watermark_generation = 0, watermark_number = 0, watermark_epoch = $2
WHERE salt = $1
