-- Texts as bytes: under SQL_ASCII, one text that is not UTF-8 would fail the whole statement. An
-- infinite event_time is older, or newer, than any other: it is read as the calendar's first or
-- last instant.
SELECT id, least(greatest(event_time, '4713-01-01 BC+00'), '294276-01-01+00') AS event_time, convert_to(name, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS name, convert_to(timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS timezone FROM facilities WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
