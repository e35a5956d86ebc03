-- A ward system of an object mapper: quoted names with capital letters, groups as an enum with the sign
-- first, a facility that a bag reaches by three joins, dispatches with lines.
CREATE TYPE public."BloodGroup" AS ENUM ('PosO', 'NegO', 'PosA', 'NegA', 'PosB', 'NegB', 'PosAB', 'NegAB');
CREATE TYPE public."BagStatus" AS ENUM ('InStock', 'Reserved', 'Transfused', 'Discarded');
CREATE TABLE public."Facility" (
    "facilityId" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "FacilityName" text NOT NULL,
    "timeZone" text NOT NULL DEFAULT 'America/Lima',
    "IsActive" boolean NOT NULL DEFAULT true
);
CREATE TABLE public."Ward" (
    "wardId" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "facilityId" integer NOT NULL REFERENCES public."Facility" ON DELETE CASCADE,
    "WardName" text
);
CREATE TABLE public."Fridge" (
    "fridgeId" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "wardId" integer NOT NULL REFERENCES public."Ward" ON DELETE CASCADE
);
CREATE TABLE public."Slot" (
    "slotId" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "fridgeId" integer NOT NULL REFERENCES public."Fridge" ON DELETE CASCADE,
    "Position" integer
);
CREATE TABLE public."BloodBag" (
    "bagId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "slotId" integer REFERENCES public."Slot" ON DELETE CASCADE,
    "bloodGroup" public."BloodGroup",
    "bagStatus" public."BagStatus" NOT NULL DEFAULT 'InStock',
    "expiresOn" date,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON public."BloodBag" ("slotId");
CREATE TABLE public."Dispatch" (
    "dispatchId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "fromFacilityId" integer REFERENCES public."Facility" ON DELETE SET NULL,
    "toFacilityId" integer NOT NULL REFERENCES public."Facility" ON DELETE CASCADE,
    "sentAt" timestamptz NOT NULL DEFAULT now(),
    "receivedAt" timestamptz
);
CREATE TABLE public."DispatchItem" (
    "itemId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "dispatchId" bigint NOT NULL REFERENCES public."Dispatch" ON DELETE CASCADE,
    "bloodGroup" public."BloodGroup",
    "Units" integer NOT NULL
);
CREATE INDEX ON public."DispatchItem" ("dispatchId");
CREATE TABLE public."BloodOrder" (
    "orderId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "wardId" integer NOT NULL REFERENCES public."Ward" ON DELETE CASCADE,
    "bloodGroup" public."BloodGroup",
    "Units" integer NOT NULL,
    "orderedAt" timestamptz NOT NULL DEFAULT now(),
    "orderStatus" text NOT NULL DEFAULT 'Placed'
);
