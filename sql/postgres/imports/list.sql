SELECT id, kind, source, file, sha256, quantity_column, fingerprint, command, rows_in, rows_skipped, rejects,
       floor(extract(epoch FROM started_at) * 1000)::bigint AS started_ms, floor(extract(epoch FROM finished_at) * 1000)::bigint AS finished_ms,
       floor(extract(epoch FROM undo_began_at) * 1000)::bigint AS undo_began_ms, floor(extract(epoch FROM undone_at) * 1000)::bigint AS undone_ms
FROM file_imports ORDER BY id
