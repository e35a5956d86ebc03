-- Several entries, in their order. $1 actors    $2 actions    $3 subjects    $4 details    $5 addresses
INSERT INTO access_log (at_ms, actor, action, subject, detail, address)
SELECT floor(extract(epoch FROM now()) * 1000.0)::bigint, actor, action, subject, detail, address
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
    AS entry (actor, action, subject, detail, address, place)
ORDER BY place
