SELECT setseed(0.14);
INSERT INTO public."Facility" ("FacilityName", "IsActive") VALUES ('Hospital Norte', true), ('Hospital Sur', true), ('Clínica "Los Álamos"', true), ('Posta 9', false);
INSERT INTO public."Ward" ("facilityId", "WardName") SELECT "facilityId", 'W' || n FROM public."Facility", generate_series(1, 3) n;
INSERT INTO public."Fridge" ("wardId") SELECT "wardId" FROM public."Ward", generate_series(1, 2);
INSERT INTO public."Slot" ("fridgeId", "Position") SELECT "fridgeId", n FROM public."Fridge", generate_series(1, 4) n;
INSERT INTO public."BloodBag" ("slotId", "bloodGroup", "bagStatus", "expiresOn")
SELECT CASE WHEN random() < 0.98 THEN 1 + floor(random() * 96)::int END, (enum_range(NULL::public."BloodGroup"))[1 + floor(random() * 8)::int],
    (enum_range(NULL::public."BagStatus"))[1 + floor(random() * 4)::int], (now() AT TIME ZONE 'America/Lima')::date + floor(random() * 30)::int - 5
FROM generate_series(1, 2500) n;
INSERT INTO public."Dispatch" ("fromFacilityId", "toFacilityId", "sentAt", "receivedAt")
SELECT 1, 1 + floor(random() * 4)::int, now() - interval '20 days', CASE WHEN random() < 0.9 THEN now() - random() * interval '15 days' END
FROM generate_series(1, 600) n;
INSERT INTO public."DispatchItem" ("dispatchId", "bloodGroup", "Units")
SELECT "dispatchId", (enum_range(NULL::public."BloodGroup"))[1 + floor(random() * 8)::int], n FROM public."Dispatch", generate_series(1, 3) n;
INSERT INTO public."BloodOrder" ("wardId", "bloodGroup", "Units", "orderedAt", "orderStatus")
SELECT 1 + floor(random() * 12)::int, (enum_range(NULL::public."BloodGroup"))[1 + floor(random() * 8)::int], 1 + floor(random() * 5)::int,
    now() - random() * interval '12 days', (ARRAY['Placed', 'Fulfilled', 'Cancelled'])[1 + floor(random() * 3)::int]
FROM generate_series(1, 1200) n;
