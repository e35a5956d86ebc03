-- 600 movements of each hospital over 30 days, today among them.
INSERT INTO public.movement (kind, hospital_id, product, units, at)
    SELECT CASE n % 2 WHEN 0 THEN 'delivery' ELSE 'request' END, 1 + n / 600, 'O+', 1, now()::timestamp - (n % 600) * interval '72 minutes'
    FROM generate_series(0, 600 * :facilities - 1) AS n;
