-- The same import again is another run of it, even when its undo broke off: it brings again what is
-- gone.
INSERT INTO file_imports (kind, source, file, sha256, quantity_column, fingerprint, command)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (fingerprint) WHERE undone_at IS NULL DO UPDATE SET
    file = excluded.file, command = excluded.command, started_at = now(), finished_at = NULL, undo_began_at = NULL
RETURNING id
