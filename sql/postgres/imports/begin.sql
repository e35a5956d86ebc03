-- Begins another run if the same import exists, even if its undo broke off: the run writes again
-- what the undo removed.
INSERT INTO file_imports (kind, source, file, sha256, quantity_column, fingerprint, command)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (fingerprint) WHERE undone_at IS NULL DO UPDATE SET
    file = excluded.file, command = excluded.command, started_at = now(), finished_at = NULL, undo_began_at = NULL
RETURNING id
