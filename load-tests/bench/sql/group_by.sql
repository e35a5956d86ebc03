-- Today of all facilities as one plain statement, with blood types: the figures that a rebuild derives.
SELECT facility_id, sum(stock)::bigint AS total_stock, sum(transferred)::bigint AS total_transferred, sum(requests)::bigint AS total_requests,
       min(next_expires_at) AS next_expires_at,
       jsonb_object_agg(blood_type, jsonb_build_object('stock', stock, 'transferred', transferred, 'requests', requests)) AS by_blood_type
FROM (
    SELECT facility_id, coalesce(blood_type, 'unknown') AS blood_type, sum(stock)::bigint AS stock, sum(transferred)::bigint AS transferred,
           sum(requests)::bigint AS requests, min(next_expires_at) AS next_expires_at
    FROM (
        SELECT bank.facility_id, item.blood_type::text, sum(item.quantity) AS stock, 0::bigint AS transferred, 0::bigint AS requests,
               min(item.expires_at) FILTER (WHERE item.quantity > 0) AS next_expires_at
        FROM blood_inventory item JOIN blood_banks bank ON bank.id = item.blood_bank_id
        WHERE item.expires_at IS NULL OR item.expires_at > now()
        GROUP BY bank.facility_id, item.blood_type
        UNION ALL
        SELECT dispatched_to_id, blood_type, 0, sum(quantity), 0, NULL FROM blood_distributions
        WHERE date_delivered >= date_trunc('day', now()) AND date_delivered < date_trunc('day', now()) + interval '1 day'
        GROUP BY dispatched_to_id, blood_type
        UNION ALL
        SELECT facility_id, blood_type, 0, 0, count(*), NULL FROM blood_requests
        WHERE created_at >= date_trunc('day', now()) AND created_at < date_trunc('day', now()) + interval '1 day'
        GROUP BY facility_id, blood_type
    ) AS part
    GROUP BY facility_id, coalesce(blood_type, 'unknown')
) AS by_type
GROUP BY facility_id;
