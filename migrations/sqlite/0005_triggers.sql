-- The schema as it was when it was last made sure that nothing was written past the triggers that leave marks: whoever drops one changes
-- the schema's number (PRAGMA schema_version), also where it is there again by the time that somebody looks.
-- Marks need not name blood banks, as they do on Postgres: a file has one writer at a time, so no bank moves while a transaction on its
-- units is open. The facility that a trigger finds is right at the commit, or that very transaction moves the bank, which is marked, too.
ALTER TABLE fleet ADD COLUMN triggers_seen TEXT;

-- UPDATE OR REPLACE gives a row the id of another one, which goes without its delete triggers, as with INSERT OR REPLACE. (Of a facility the
-- update trigger marks the new id as well.)
CREATE TRIGGER blood_banks_mark_displaced BEFORE UPDATE OF id ON blood_banks WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM blood_banks WHERE id = NEW.id) BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = NEW.id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = NEW.id) AND kind = 'stock');
END;

CREATE TRIGGER blood_inventory_mark_displaced BEFORE UPDATE OF id ON blood_inventory WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM blood_inventory WHERE id = NEW.id) BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id))
        WHERE (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id)) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id)) AND kind = 'stock');
END;

CREATE TRIGGER blood_distributions_mark_displaced BEFORE UPDATE OF id ON blood_distributions WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM blood_distributions WHERE id = NEW.id) BEGIN
    UPDATE summary_marks SET first_at = min(first_at, (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id)), last_at = max(last_at, (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id))
        WHERE facility_id = (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id), ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000), (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id), (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id)
        WHERE (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000));
END;

CREATE TRIGGER blood_requests_mark_displaced BEFORE UPDATE OF id ON blood_requests WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM blood_requests WHERE id = NEW.id) BEGIN
    UPDATE summary_marks SET first_at = min(first_at, (SELECT created_at FROM blood_requests WHERE id = NEW.id)), last_at = max(last_at, (SELECT created_at FROM blood_requests WHERE id = NEW.id))
        WHERE facility_id = (SELECT facility_id FROM blood_requests WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', (SELECT facility_id FROM blood_requests WHERE id = NEW.id), ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000), (SELECT created_at FROM blood_requests WHERE id = NEW.id), (SELECT created_at FROM blood_requests WHERE id = NEW.id)
        WHERE (SELECT created_at FROM blood_requests WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_requests WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000));
END;

-- The table of statistics is made here, so that no later ANALYZE or PRAGMA optimize changes the schema for it.
ANALYZE fleet;
