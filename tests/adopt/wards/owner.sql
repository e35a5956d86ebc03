WITH clock AS (SELECT (now() AT TIME ZONE 'America/Lima')::date AS today),
place AS (SELECT "facilityId" AS id, "FacilityName" AS name FROM public."Facility" WHERE "IsActive"),
type AS (
    SELECT g, replace(replace(g::text, 'Pos', ''), 'Neg', '') || CASE WHEN g::text LIKE 'Pos%' THEN '+' ELSE '-' END AS name
    FROM unnest(enum_range(NULL::public."BloodGroup")) g
)
SELECT id::text AS key, today AS day, 'facility' AS figure, name AS blood_type, 1::bigint AS value FROM place, clock
UNION ALL
SELECT p.id::text, today, 'stock', coalesce(t.name, 'unknown'), count(*)
FROM clock, place p, public."Ward" w, public."Fridge" f, public."Slot" s, public."BloodBag" b LEFT JOIN type t ON t.g = b."bloodGroup"
WHERE w."facilityId" = p.id AND f."wardId" = w."wardId" AND s."fridgeId" = f."fridgeId" AND b."slotId" = s."slotId"
    AND b."bagStatus" IN ('InStock', 'Reserved') AND (b."expiresOn" IS NULL OR b."expiresOn" > today)
GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (d."receivedAt" AT TIME ZONE 'America/Lima')::date, 'transferred', coalesce(t.name, 'unknown'), sum(i."Units")
FROM clock, place p, public."Dispatch" d, public."DispatchItem" i LEFT JOIN type t ON t.g = i."bloodGroup"
WHERE d."toFacilityId" = p.id AND i."dispatchId" = d."dispatchId" AND (d."receivedAt" AT TIME ZONE 'America/Lima')::date BETWEEN today - 6 AND today
GROUP BY 1, 2, 4
UNION ALL
SELECT p.id::text, (o."orderedAt" AT TIME ZONE 'America/Lima')::date, 'requests', coalesce(t.name, 'unknown'), sum(o."Units")
FROM clock, place p, public."Ward" w, public."BloodOrder" o LEFT JOIN type t ON t.g = o."bloodGroup"
WHERE w."facilityId" = p.id AND o."wardId" = w."wardId" AND o."orderStatus" IN ('Placed', 'Fulfilled')
    AND (o."orderedAt" AT TIME ZONE 'America/Lima')::date BETWEEN today - 6 AND today
GROUP BY 1, 2, 4
