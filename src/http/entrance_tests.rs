use actix_web::test::TestRequest;

use super::*;

#[test]
fn a_request_that_did_not_come_through_the_entrance_shows_nothing() {
    let request = TestRequest::get().to_http_request();
    assert!(!visible(&request).has(uuid::Uuid::new_v4()));
    assert_eq!(visible(&request).ids().map(std::collections::HashSet::len), Some(0));
    assert!(!has_no_sign_in(&request));
}

/// A handler that is mounted in another way would be open to everybody.
#[test]
fn each_route_is_mounted_with_what_it_needs() {
    let table = include_str!("routes.rs");
    let code: String = table.chars().filter(|c| !c.is_whitespace()).collect();
    for mounted in code.split(".service(").skip(1) {
        let is_ruled = mounted.starts_with("observed(m,") && mounted.contains("Needs::to_");
        assert!(is_ruled, "{mounted}");
    }
    for other in ["config.route(", "web::resource(", "web::scope(", "config.app_data("] {
        assert!(!code.contains(other), "{other}");
    }
}
