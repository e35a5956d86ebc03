-- The service may derive figures from tables of another program (`[sources]`). Replicas of the release before go on working.

-- Names this installation, whatever happens to its history: part of the ids that mapped facilities get.
ALTER TABLE fleet ADD COLUMN installation uuid NOT NULL DEFAULT gen_random_uuid();
