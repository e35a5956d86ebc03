-- With `[sources]`, the part between "own tables" and "end" is replaced by that of the mapping.
-- Texts as bytes: under SQL_ASCII, one text that is not UTF-8 would fail the whole statement.
SELECT f.id, convert_to(f.name, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS name,
       convert_to(f.timezone, CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END::name) AS timezone,
       coalesce(state.removed_at_version, 0) AS removed_at_version,
       -- own tables: key
       NULL::text
       -- end
       AS key
FROM facilities f LEFT JOIN facility_state state ON state.facility_id = f.id
