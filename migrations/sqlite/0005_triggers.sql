-- The schema's version (PRAGMA schema_version) when the service was last sure that the triggers had
-- noticed all writes. Dropping a trigger changes it, and creating the trigger again does not change
-- it back. Unlike on Postgres, marks need not name blood banks. A file has one writer at a time, so
-- no bank moves while a transaction on its units is open. So the facility that a trigger finds is
-- still right at the commit, unless the same transaction moves the bank, and this leaves marks of
-- its own.
ALTER TABLE fleet ADD COLUMN triggers_seen TEXT;

-- UPDATE OR REPLACE can give a row the id of another row. SQLite then deletes that row without
-- firing its delete triggers, as with INSERT OR REPLACE. (For a facility, the update trigger marks
-- the new id as well.)
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

-- This creates the table of statistics, so that no later ANALYZE or PRAGMA optimize changes the
-- schema.
ANALYZE fleet;
