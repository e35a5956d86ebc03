-- Row triggers that leave marks in the writer's own transaction, one for each facility and UTC day however many rows are touched:
-- SQLite has one writer at a time, so a mark that a writer sees is still there when it commits.
-- BEFORE INSERT looks for the row that INSERT OR REPLACE is about to replace: its delete triggers fire only where the writer set
-- recursive_triggers. The marks are written without a conflict clause of their own, since the outer statement's would override it.

CREATE TRIGGER facilities_mark_insert AFTER INSERT ON facilities BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'facility', NEW.id
        WHERE NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.id AND kind = 'facility');
END;

CREATE TRIGGER facilities_mark_update AFTER UPDATE ON facilities BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'facility', OLD.id
        WHERE NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.id AND kind = 'facility');
    INSERT INTO summary_marks (kind, facility_id) SELECT 'facility', NEW.id
        WHERE NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.id AND kind = 'facility');
END;

CREATE TRIGGER facilities_mark_delete AFTER DELETE ON facilities BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'facility', OLD.id
        WHERE NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.id AND kind = 'facility');
END;

CREATE TRIGGER blood_banks_mark_replaced BEFORE INSERT ON blood_banks WHEN EXISTS (SELECT 1 FROM blood_banks WHERE id = NEW.id) BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = NEW.id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = NEW.id) AND kind = 'stock');
END;

CREATE TRIGGER blood_banks_mark_insert AFTER INSERT ON blood_banks BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', NEW.facility_id
        WHERE NEW.facility_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.facility_id AND kind = 'stock');
END;

CREATE TRIGGER blood_banks_mark_update AFTER UPDATE ON blood_banks BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', OLD.facility_id
        WHERE OLD.facility_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.facility_id AND kind = 'stock');
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', NEW.facility_id
        WHERE NEW.facility_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.facility_id AND kind = 'stock');
END;

CREATE TRIGGER blood_banks_mark_delete AFTER DELETE ON blood_banks BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', OLD.facility_id
        WHERE OLD.facility_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.facility_id AND kind = 'stock');
END;

CREATE TRIGGER blood_inventory_mark_replaced BEFORE INSERT ON blood_inventory WHEN EXISTS (SELECT 1 FROM blood_inventory WHERE id = NEW.id) BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id))
        WHERE (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id)) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = (SELECT blood_bank_id FROM blood_inventory WHERE id = NEW.id)) AND kind = 'stock');
END;

CREATE TRIGGER blood_inventory_mark_insert AFTER INSERT ON blood_inventory BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id) AND kind = 'stock');
END;

CREATE TRIGGER blood_inventory_mark_update AFTER UPDATE ON blood_inventory BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id) AND kind = 'stock');
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = NEW.blood_bank_id) AND kind = 'stock');
END;

CREATE TRIGGER blood_inventory_mark_delete AFTER DELETE ON blood_inventory BEGIN
    INSERT INTO summary_marks (kind, facility_id) SELECT 'stock', (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id)
        WHERE (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_banks WHERE id = OLD.blood_bank_id) AND kind = 'stock');
END;

CREATE TRIGGER blood_distributions_mark_replaced BEFORE INSERT ON blood_distributions WHEN EXISTS (SELECT 1 FROM blood_distributions WHERE id = NEW.id) BEGIN
    UPDATE summary_marks SET first_at = min(first_at, (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id)), last_at = max(last_at, (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id))
        WHERE facility_id = (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id), ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000), (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id), (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id)
        WHERE (SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT dispatched_to_id FROM blood_distributions WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT date_delivered FROM blood_distributions WHERE id = NEW.id) / 86400000));
END;

CREATE TRIGGER blood_distributions_mark_insert AFTER INSERT ON blood_distributions BEGIN
    UPDATE summary_marks SET first_at = min(first_at, NEW.date_delivered), last_at = max(last_at, NEW.date_delivered)
        WHERE facility_id = NEW.dispatched_to_id AND kind = 'activity' AND utc_day = (NEW.date_delivered / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', NEW.dispatched_to_id, (NEW.date_delivered / 86400000), NEW.date_delivered, NEW.date_delivered
        WHERE NEW.date_delivered IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.dispatched_to_id AND kind = 'activity' AND utc_day = (NEW.date_delivered / 86400000));
END;

CREATE TRIGGER blood_distributions_mark_update AFTER UPDATE ON blood_distributions BEGIN
    UPDATE summary_marks SET first_at = min(first_at, OLD.date_delivered), last_at = max(last_at, OLD.date_delivered)
        WHERE facility_id = OLD.dispatched_to_id AND kind = 'activity' AND utc_day = (OLD.date_delivered / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', OLD.dispatched_to_id, (OLD.date_delivered / 86400000), OLD.date_delivered, OLD.date_delivered
        WHERE OLD.date_delivered IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.dispatched_to_id AND kind = 'activity' AND utc_day = (OLD.date_delivered / 86400000));
    UPDATE summary_marks SET first_at = min(first_at, NEW.date_delivered), last_at = max(last_at, NEW.date_delivered)
        WHERE facility_id = NEW.dispatched_to_id AND kind = 'activity' AND utc_day = (NEW.date_delivered / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', NEW.dispatched_to_id, (NEW.date_delivered / 86400000), NEW.date_delivered, NEW.date_delivered
        WHERE NEW.date_delivered IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.dispatched_to_id AND kind = 'activity' AND utc_day = (NEW.date_delivered / 86400000));
END;

CREATE TRIGGER blood_distributions_mark_delete AFTER DELETE ON blood_distributions BEGIN
    UPDATE summary_marks SET first_at = min(first_at, OLD.date_delivered), last_at = max(last_at, OLD.date_delivered)
        WHERE facility_id = OLD.dispatched_to_id AND kind = 'activity' AND utc_day = (OLD.date_delivered / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', OLD.dispatched_to_id, (OLD.date_delivered / 86400000), OLD.date_delivered, OLD.date_delivered
        WHERE OLD.date_delivered IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.dispatched_to_id AND kind = 'activity' AND utc_day = (OLD.date_delivered / 86400000));
END;

CREATE TRIGGER blood_requests_mark_replaced BEFORE INSERT ON blood_requests WHEN EXISTS (SELECT 1 FROM blood_requests WHERE id = NEW.id) BEGIN
    UPDATE summary_marks SET first_at = min(first_at, (SELECT created_at FROM blood_requests WHERE id = NEW.id)), last_at = max(last_at, (SELECT created_at FROM blood_requests WHERE id = NEW.id))
        WHERE facility_id = (SELECT facility_id FROM blood_requests WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', (SELECT facility_id FROM blood_requests WHERE id = NEW.id), ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000), (SELECT created_at FROM blood_requests WHERE id = NEW.id), (SELECT created_at FROM blood_requests WHERE id = NEW.id)
        WHERE (SELECT created_at FROM blood_requests WHERE id = NEW.id) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = (SELECT facility_id FROM blood_requests WHERE id = NEW.id) AND kind = 'activity' AND utc_day = ((SELECT created_at FROM blood_requests WHERE id = NEW.id) / 86400000));
END;

CREATE TRIGGER blood_requests_mark_insert AFTER INSERT ON blood_requests BEGIN
    UPDATE summary_marks SET first_at = min(first_at, NEW.created_at), last_at = max(last_at, NEW.created_at)
        WHERE facility_id = NEW.facility_id AND kind = 'activity' AND utc_day = (NEW.created_at / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', NEW.facility_id, (NEW.created_at / 86400000), NEW.created_at, NEW.created_at
        WHERE NEW.created_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.facility_id AND kind = 'activity' AND utc_day = (NEW.created_at / 86400000));
END;

CREATE TRIGGER blood_requests_mark_update AFTER UPDATE ON blood_requests BEGIN
    UPDATE summary_marks SET first_at = min(first_at, OLD.created_at), last_at = max(last_at, OLD.created_at)
        WHERE facility_id = OLD.facility_id AND kind = 'activity' AND utc_day = (OLD.created_at / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', OLD.facility_id, (OLD.created_at / 86400000), OLD.created_at, OLD.created_at
        WHERE OLD.created_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.facility_id AND kind = 'activity' AND utc_day = (OLD.created_at / 86400000));
    UPDATE summary_marks SET first_at = min(first_at, NEW.created_at), last_at = max(last_at, NEW.created_at)
        WHERE facility_id = NEW.facility_id AND kind = 'activity' AND utc_day = (NEW.created_at / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', NEW.facility_id, (NEW.created_at / 86400000), NEW.created_at, NEW.created_at
        WHERE NEW.created_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = NEW.facility_id AND kind = 'activity' AND utc_day = (NEW.created_at / 86400000));
END;

CREATE TRIGGER blood_requests_mark_delete AFTER DELETE ON blood_requests BEGIN
    UPDATE summary_marks SET first_at = min(first_at, OLD.created_at), last_at = max(last_at, OLD.created_at)
        WHERE facility_id = OLD.facility_id AND kind = 'activity' AND utc_day = (OLD.created_at / 86400000);
    INSERT INTO summary_marks (kind, facility_id, utc_day, first_at, last_at) SELECT 'activity', OLD.facility_id, (OLD.created_at / 86400000), OLD.created_at, OLD.created_at
        WHERE OLD.created_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM summary_marks WHERE facility_id = OLD.facility_id AND kind = 'activity' AND utc_day = (OLD.created_at / 86400000));
END;
