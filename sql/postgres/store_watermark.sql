-- $1 epoch, $2 milliseconds, $3 and $4 position. It only rises within an epoch. A watermark of
-- another epoch is replaced.
UPDATE fleet SET watermark_at = to_timestamp($2::bigint::float8 / 1000.0::float8), watermark_generation = $3, watermark_number = $4, watermark_epoch = $1
WHERE fleet_epoch(salt) = $1
  AND (watermark_at IS NULL OR NOT isfinite(watermark_at) OR watermark_epoch <> $1 OR watermark_at < to_timestamp($2::bigint::float8 / 1000.0::float8))
