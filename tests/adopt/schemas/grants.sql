GRANT USAGE ON SCHEMA org, inv, logistics, clinical TO {role};
GRANT SELECT (site_code, title, site_status) ON org.site TO {role};
GRANT SELECT (location_id, site_code) ON inv.storage_location TO {role};
GRANT SELECT (location_id, abo_group, rhd, unit_status, expiry, deleted) ON inv.blood_unit TO {role};
GRANT SELECT (consignment_id, destination_site, received_on) ON logistics.consignment TO {role};
GRANT SELECT (consignment_id, abo_group, rhd, quantity) ON logistics.consignment_line TO {role};
GRANT SELECT (site_code, abo_group, rhd, units_requested, requested_on) ON clinical.requisition TO {role};
