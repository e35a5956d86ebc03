-- Today of all hospitals as one plain statement of the owner, with blood types.
SELECT hospital_id, jsonb_object_agg(blood_type, jsonb_build_object('stock', stock, 'transferred', transferred, 'requests', requests)),
       sum(stock) AS total_stock, sum(transferred) AS total_transferred, sum(requests) AS total_requests
FROM (
    SELECT hospital_id, blood_type, sum(stock) AS stock, sum(transferred) AS transferred, sum(requests) AS requests
    FROM (
        SELECT s.hospital_id, b.abo || b.rh AS blood_type, count(*) AS stock, 0 AS transferred, 0 AS requests
        FROM public.bag b JOIN public.store s ON s.id = b.store_id
        WHERE b.state = 'available' AND (b.expiry IS NULL OR b.expiry > current_date)
        GROUP BY 1, 2
        UNION ALL
        SELECT hospital_id, 'unknown', 0, sum(units) FILTER (WHERE kind = 'delivery'), count(*) FILTER (WHERE kind = 'request')
        FROM public.movement WHERE at >= current_date AND at < current_date + 1
        GROUP BY 1
    ) AS part
    GROUP BY 1, 2
) AS by_type
GROUP BY 1;
