-- $1: as in write_summaries.sql. The counter only rises.
INSERT INTO facility_state (facility_id, version)
SELECT unhex(value ->> 0), max(value ->> 9) FROM json_each($1) WHERE true GROUP BY 1
ON CONFLICT (facility_id) DO UPDATE SET version = max(version, excluded.version)
