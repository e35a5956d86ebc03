SELECT id, kind, source, file, sha256, quantity_column, fingerprint, command, started_at, finished_at, rows_in, rows_skipped, rejects, undo_began_at, undone_at
FROM file_imports ORDER BY id
