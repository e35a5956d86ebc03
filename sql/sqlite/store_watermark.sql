-- $1 epoch, $2 milliseconds, $3 and $4 position. It only rises within an epoch. A watermark of
-- another epoch is replaced.
UPDATE fleet SET watermark_at = $2, watermark_generation = $3, watermark_number = $4, watermark_epoch = $1
WHERE salt = $1 AND (watermark_at IS NULL OR watermark_epoch <> $1 OR watermark_at < $2)
