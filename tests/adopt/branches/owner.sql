WITH place AS (SELECT id, name, coalesce(timezone, 'UTC') AS zone, (now() AT TIME ZONE coalesce(timezone, 'UTC'))::date AS today FROM public.pharmacy_branch),
kind AS (
    SELECT id, CASE WHEN label LIKE '% Positive' THEN split_part(label, ' ', 1) || '+' WHEN label LIKE '% Negative' THEN split_part(label, ' ', 1) || '-' END AS type
    FROM public.pharmacy_bloodgroup
)
SELECT id::text AS key, today AS day, 'facility' AS figure, name::text AS blood_type, 1::bigint AS value FROM place
UNION ALL
SELECT p.id::text, p.today, 'stock', coalesce(k.type, 'unknown'), sum(s.quantity)
FROM place p JOIN public.pharmacy_stockitem s ON s.branch_id = p.id LEFT JOIN kind k ON k.id = s.blood_group_id
WHERE s.expiry_date IS NULL OR s.expiry_date >= p.today GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (t.created_at AT TIME ZONE p.zone)::date, 'transferred', coalesce(k.type, 'unknown'), sum(t.quantity)
FROM place p JOIN public.pharmacy_stocktransfer t ON t.branch_id = p.id LEFT JOIN kind k ON k.id = t.blood_group_id
WHERE t.transfer_type <> 'OUT' AND (t.created_at AT TIME ZONE p.zone)::date BETWEEN p.today - 6 AND p.today GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (o.order_date AT TIME ZONE 'Asia/Karachi' AT TIME ZONE p.zone)::date, 'requests', coalesce(k.type, 'unknown'), count(*)
FROM place p JOIN public.pharmacy_order o ON o.branch_id = p.id LEFT JOIN kind k ON k.id = o.blood_group_id
WHERE (o.order_date AT TIME ZONE 'Asia/Karachi' AT TIME ZONE p.zone)::date BETWEEN p.today - 6 AND p.today GROUP BY 1, 2, 4
