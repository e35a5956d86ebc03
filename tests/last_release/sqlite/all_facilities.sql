SELECT id, name, timezone FROM facilities
