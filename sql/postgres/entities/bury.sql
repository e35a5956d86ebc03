INSERT INTO tombstones (kind, id, event_time) SELECT $1, id, to_timestamp(event_time_ms / 1000.0::float8) FROM unnest($2::uuid[], $3::bigint[]) AS n (id, event_time_ms)
ON CONFLICT (kind, id) DO UPDATE SET event_time = excluded.event_time
