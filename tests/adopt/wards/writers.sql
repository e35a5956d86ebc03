-- rename public."BloodBag" "bagStatus" "currentStatus"
-- step: single rows
INSERT INTO public."BloodBag" ("slotId", "bloodGroup", "expiresOn") SELECT "slotId", 'PosAB', current_date + 11 FROM public."Slot" ORDER BY random() LIMIT 1;
INSERT INTO public."BloodOrder" ("wardId", "bloodGroup", "Units") SELECT "wardId", 'NegO', 2 FROM public."Ward" ORDER BY random() LIMIT 1;
WITH d AS (INSERT INTO public."Dispatch" ("toFacilityId", "receivedAt") SELECT "facilityId", now() FROM public."Facility" ORDER BY random() LIMIT 1 RETURNING "dispatchId")
INSERT INTO public."DispatchItem" ("dispatchId", "bloodGroup", "Units") SELECT "dispatchId", 'PosB', 6 FROM d;
-- step: statuses
UPDATE public."BloodBag" SET "bagStatus" = 'Transfused' WHERE "bagId" IN (SELECT "bagId" FROM public."BloodBag" WHERE "bagStatus" = 'InStock' ORDER BY random() LIMIT 5);
UPDATE public."BloodBag" SET "bagStatus" = 'InStock' WHERE "bagId" IN (SELECT "bagId" FROM public."BloodBag" ORDER BY random() LIMIT 5);
UPDATE public."Dispatch" SET "receivedAt" = now() WHERE "dispatchId" IN (SELECT "dispatchId" FROM public."Dispatch" WHERE "receivedAt" IS NULL LIMIT 3);
UPDATE public."BloodOrder" SET "orderStatus" = 'Cancelled' WHERE "orderId" IN (SELECT "orderId" FROM public."BloodOrder" ORDER BY "orderedAt" DESC LIMIT 2);
-- step: moves
UPDATE public."BloodBag" SET "slotId" = (SELECT "slotId" FROM public."Slot" ORDER BY random() LIMIT 1) WHERE "bagId" IN (SELECT "bagId" FROM public."BloodBag" ORDER BY random() LIMIT 20);
UPDATE public."Fridge" SET "wardId" = (SELECT "wardId" FROM public."Ward" JOIN public."Facility" USING ("facilityId")
    WHERE "FacilityName" <> 'Campaña' ORDER BY random() LIMIT 1) WHERE "fridgeId" = (SELECT "fridgeId" FROM public."Fridge" ORDER BY random() LIMIT 1);
UPDATE public."Ward" SET "facilityId" = (SELECT "facilityId" FROM public."Facility" WHERE "FacilityName" <> 'Campaña' ORDER BY random() LIMIT 1) WHERE "wardId" = (SELECT "wardId" FROM public."Ward" ORDER BY random() LIMIT 1);
UPDATE public."Dispatch" SET "toFacilityId" = (SELECT "facilityId" FROM public."Facility" ORDER BY random() LIMIT 1) WHERE "dispatchId" IN (SELECT "dispatchId" FROM public."Dispatch" ORDER BY "receivedAt" DESC NULLS LAST LIMIT 3);
-- step: cascade
WITH f AS (INSERT INTO public."Facility" ("FacilityName") VALUES ('Campaña') RETURNING "facilityId"),
w AS (INSERT INTO public."Ward" ("facilityId") SELECT "facilityId" FROM f RETURNING "wardId")
INSERT INTO public."BloodOrder" ("wardId", "bloodGroup", "Units") SELECT "wardId", 'PosO', 1 FROM w, generate_series(1, 15);
DELETE FROM public."Facility" WHERE "facilityId" IN (SELECT "facilityId" FROM public."Facility" WHERE "FacilityName" = 'Campaña' ORDER BY 1 LIMIT 1);
UPDATE public."Facility" SET "IsActive" = NOT "IsActive" WHERE "FacilityName" = 'Posta 9';
DELETE FROM public."Dispatch" WHERE "dispatchId" IN (SELECT "dispatchId" FROM public."Dispatch" ORDER BY random() LIMIT 2);
-- copy: public."BloodBag" ("slotId", "bloodGroup", "bagStatus", "expiresOn")
SELECT "slotId", 'NegAB', 'Reserved', current_date + 4 FROM public."Slot", generate_series(1, 4)
-- copy: public."BloodOrder" ("wardId", "bloodGroup", "Units", "orderedAt")
SELECT "wardId", 'NegB', 2, now() - n * interval '11 hours' FROM public."Ward", generate_series(0, 12) n
-- truncate
TRUNCATE public."BloodOrder"
