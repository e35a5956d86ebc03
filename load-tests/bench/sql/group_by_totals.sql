-- Today of all facilities as one plain statement, without blood types and expiries: less than a rebuild
-- derives.
SELECT facility.id, coalesce(stock.units, 0), coalesce(delivered.units, 0), coalesce(asked.requests, 0)
FROM facilities facility
LEFT JOIN (
    SELECT bank.facility_id, sum(item.quantity) AS units FROM blood_inventory item JOIN blood_banks bank ON bank.id = item.blood_bank_id
    WHERE item.expires_at IS NULL OR item.expires_at > now() GROUP BY bank.facility_id
) AS stock ON stock.facility_id = facility.id
LEFT JOIN (
    SELECT dispatched_to_id, sum(quantity) AS units FROM blood_distributions
    WHERE date_delivered >= date_trunc('day', now()) AND date_delivered < date_trunc('day', now()) + interval '1 day' GROUP BY dispatched_to_id
) AS delivered ON delivered.dispatched_to_id = facility.id
LEFT JOIN (
    SELECT facility_id, count(*) AS requests FROM blood_requests
    WHERE created_at >= date_trunc('day', now()) AND created_at < date_trunc('day', now()) + interval '1 day' GROUP BY facility_id
) AS asked ON asked.facility_id = facility.id;
