-- What triggers on mapped tables note: which kind of mark and which way, and the values that lead to facilities. A writer of the owner waits until it is
-- written, so it has no key and no index. Each drain snapshot moves the rows that it shows to summary_marks. Replicas of the release before do not look here:
-- triggers that write here are made for another plan than theirs, on which they do not rely.

-- mark: the kind, and behind a space the way; the kind alone is of every facility. noted: an element for each changed row, as the way reads it.
CREATE TABLE noticed_rows (mark text NOT NULL, noted text[] NOT NULL);

-- To compress the values takes longer than to write them. VACUUM gives free pages back, since each drain snapshot reads the whole table: for that moment,
-- triggers leave spare marks.
ALTER TABLE noticed_rows ALTER COLUMN noted SET STORAGE EXTERNAL;
