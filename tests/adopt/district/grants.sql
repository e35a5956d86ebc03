GRANT USAGE ON SCHEMA hemo TO {role};
GRANT SELECT (hc_code, hc_name, time_zone, status) ON hemo.health_centre TO {role};
GRANT SELECT (type_no, abbreviation) ON hemo.blood_types TO {role};
GRANT SELECT (hc_code, type_no, use_by, current_state) ON hemo.blood_inventory TO {role};
GRANT SELECT (hc_code, type_no, no_of_units, date_received) ON hemo.goods_received TO {role};
GRANT SELECT (hc_code, type_no, date_requested, request_status) ON hemo.transfusion_request TO {role};
