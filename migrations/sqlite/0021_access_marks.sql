-- Random marks of the last changes of access, the newest first, 16 characters each. A backup that was restored may come to the same access_version by
-- other changes; the marks tell.
ALTER TABLE fleet ADD COLUMN access_marks TEXT NOT NULL DEFAULT '';
UPDATE fleet SET access_marks = lower(hex(randomblob(8)));
