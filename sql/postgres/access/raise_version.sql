-- Raises the access version, with a random mark of this change before those of the 63 before it.
UPDATE fleet SET access_version = access_version + 1,
       access_marks = left(concat(left(replace(gen_random_uuid()::text, '-', ''), 16), access_marks), 1024)
RETURNING access_version
