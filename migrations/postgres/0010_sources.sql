-- The service may derive figures from tables of another program (`[sources]`). Replicas of the release before go on working.

-- Names this installation, whatever happens to its history: part of the ids that mapped facilities get.
ALTER TABLE fleet ADD COLUMN installation uuid NOT NULL DEFAULT gen_random_uuid();
-- Where the facilities of the mapping are, and a hash of the whole mapping: with another one, the figures that are stored are not right.
ALTER TABLE fleet ADD COLUMN mapped_facilities text, ADD COLUMN mapping text;
-- The time zones that the server knows, in small letters. A facility in another one has the days of UTC.
CREATE TABLE server_zone (name text PRIMARY KEY);
