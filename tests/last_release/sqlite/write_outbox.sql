-- $1: as in write_summaries.sql.
INSERT INTO outbox (facility_id, date, version) SELECT unhex(value ->> 0), value ->> 1, value ->> 9 FROM json_each($1)
