GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT ("facilityId", "FacilityName", "timeZone", "IsActive") ON public."Facility" TO {role};
GRANT SELECT ("wardId", "facilityId") ON public."Ward" TO {role};
GRANT SELECT ("fridgeId", "wardId") ON public."Fridge" TO {role};
GRANT SELECT ("slotId", "fridgeId") ON public."Slot" TO {role};
GRANT SELECT ("slotId", "bloodGroup", "bagStatus", "expiresOn") ON public."BloodBag" TO {role};
GRANT SELECT ("dispatchId", "toFacilityId", "receivedAt") ON public."Dispatch" TO {role};
GRANT SELECT ("dispatchId", "bloodGroup", "Units") ON public."DispatchItem" TO {role};
GRANT SELECT ("wardId", "bloodGroup", "Units", "orderedAt", "orderStatus") ON public."BloodOrder" TO {role};
