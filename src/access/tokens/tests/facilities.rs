use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;
use crate::{
    config::auth::{ClaimSettings, FacilitiesAre, WithoutFacilities},
    domain::access::{FacilityScope, NamedFacilities, Role},
};

type Allowed = Result<(Role, FacilityScope), &'static str>;

async fn allowed(settings: &IssuerSettings, pair: &Pair, claims: Value) -> Allowed {
    let mut changes = json!({"roles": null, "facilities": null});
    for (name, value) in claims.as_object().unwrap() {
        changes[name] = value.clone();
    }
    let token = pair.with_claims(changes);
    match open(settings.clone()).verify(&token, NOW_MS).await {
        Ok(verified) => Ok((verified.principal.role, verified.principal.facilities)),
        refused => Err(class(refused)),
    }
}

fn only(ids: &[&str]) -> FacilityScope {
    FacilityScope::of_ids(ids.iter().map(|id| id.parse().unwrap()))
}

#[tokio::test]
async fn a_token_without_a_known_role_is_refused_and_of_several_the_wider_counts() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let settings = issuer(&[&pair]);
    for (roles, expected) in [
        (json!("viewer"), Ok(Role::Viewer)),
        (json!(["offline_access", "operator"]), Ok(Role::Operator)),
        (json!(["viewer", "operator"]), Ok(Role::Operator)),
        (json!(["viewer", "admin", "metrics"]), Ok(Role::Admin)),
        (json!(["service"]), Ok(Role::Service)),
        (json!(["metrics"]), Ok(Role::Metrics)),
        (json!(["viewer", "service"]), Err("role")),
        (json!(["operator", "metrics"]), Err("role")),
        (json!(["Viewer"]), Err("role")),
        (json!("not an admin"), Err("role")),
        (json!("viewer admin"), Err("role")),
        (json!([]), Err("role")),
        (json!(["viewer", 7]), Err("role")),
        (json!({"viewer": true}), Err("role")),
        (Value::Null, Err("role")),
    ] {
        let claims = json!({"roles": roles, "facilities": [FACILITY]});
        let role = allowed(&settings, &pair, claims).await.map(|(role, _)| role);
        assert_eq!(role, expected, "{roles}");
    }
}

#[tokio::test]
async fn an_issuers_own_names_stand_for_roles_and_then_ours_do_not() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let roles = [("Blood Viewers".to_owned(), Role::Viewer), ("ops=1".to_owned(), Role::Operator)];
    let settings = IssuerSettings {
        roles: Some(roles.into()),
        claims: ClaimSettings { role: "realm_access.roles".into(), ..ClaimSettings::default() },
        ..issuer(&[&pair])
    };
    for (access, expected) in [
        (json!({"roles": ["Blood Viewers"]}), Ok(Role::Viewer)),
        (json!({"roles": ["ops=1"]}), Ok(Role::Operator)),
        (json!({"roles": ["admin"]}), Err("role")),
        (json!({"roles": "Blood"}), Err("role")),
        (json!("roles"), Err("role")),
    ] {
        let claims = json!({"realm_access": access, "facilities": [FACILITY], "roles": ["admin"]});
        let role = allowed(&settings, &pair, claims).await.map(|(role, _)| role);
        assert_eq!(role, expected, "{access}");
    }
}

#[tokio::test]
async fn a_path_finds_names_that_have_dots_themselves() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let cases = [
        ("https://blood.example/roles", json!({"https://blood.example/roles": ["viewer"]})),
        (
            "resource_access.blood.example.roles",
            json!({"resource_access": {"blood.example": {"roles": ["viewer"]}}}),
        ),
        ("a.b", json!({"a.b": "viewer", "a": {"b": "admin"}})),
        ("scope", json!({"scope": "openid viewer"})),
    ];
    for (path, claims) in cases {
        let settings = IssuerSettings {
            claims: ClaimSettings { role: path.into(), ..ClaimSettings::default() },
            ..issuer(&[&pair])
        };
        let claims = changed(claims, json!({"facilities": [FACILITY]}));
        let role = allowed(&settings, &pair, claims).await.map(|(role, _)| role);
        assert_eq!(role, Ok(Role::Viewer), "{path}");
    }
}

#[tokio::test]
async fn a_token_sees_the_facilities_that_it_names_and_an_unreadable_claim_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let settings = issuer(&[&pair]);
    let other = "018f4e2a-0000-7000-8000-000000000001";
    for (facilities, expected) in [
        (json!([FACILITY, other]), Ok(only(&[FACILITY, other]))),
        (json!(FACILITY), Ok(only(&[FACILITY]))),
        (json!(FACILITY.to_uppercase()), Ok(only(&[FACILITY]))),
        (json!([]), Ok(only(&[]))),
        (json!([FACILITY, "north"]), Err("facilities")),
        (json!([FACILITY, 7]), Err("facilities")),
        (json!("*"), Err("facilities")),
        (json!("all"), Err("facilities")),
        (json!(""), Err("facilities")),
        (json!(true), Err("facilities")),
        (json!({"ids": [FACILITY]}), Err("facilities")),
        (json!(format!("{FACILITY},{other}")), Err("facilities")),
        (json!(FACILITY.replace('-', "")), Err("facilities")),
        (Value::Null, Err("facilities")),
    ] {
        for role in [Role::Viewer, Role::Operator] {
            let claims = json!({"roles": [role.as_str()], "facilities": facilities});
            let expected = expected.clone().map(|scope| (role, scope));
            assert_eq!(allowed(&settings, &pair, claims).await, expected, "{facilities}");
        }
        // The other roles are not about single facilities.
        for role in [Role::Admin, Role::Service, Role::Metrics] {
            let claims = json!({"roles": [role.as_str()], "facilities": facilities});
            let all = Ok((role, FacilityScope::All));
            assert_eq!(allowed(&settings, &pair, claims).await, all, "{facilities}");
        }
    }
}

#[tokio::test]
async fn a_token_without_facilities_sees_all_only_where_a_setting_says_so() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let settings =
        IssuerSettings { without_facilities: WithoutFacilities::All, ..issuer(&[&pair]) };
    let viewer = |facilities: Value| json!({"roles": ["viewer"], "facilities": facilities});
    let all = Ok((Role::Viewer, FacilityScope::All));
    assert_eq!(allowed(&settings, &pair, viewer(Value::Null)).await, all);
    let none = Ok((Role::Viewer, only(&[])));
    assert_eq!(allowed(&settings, &pair, viewer(json!([]))).await, none);
    let unreadable = allowed(&settings, &pair, viewer(json!(["north"]))).await;
    assert_eq!(unreadable, Err("facilities"), "it is there, but not understood");
}

#[tokio::test]
async fn a_pattern_takes_the_facilities_out_of_a_list_of_groups() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let claims = ClaimSettings {
        facilities: "groups".into(),
        facility_pattern: Some("/facility:{}/staff".into()),
        ..ClaimSettings::default()
    };
    let settings = IssuerSettings { claims, ..issuer(&[&pair]) };
    let groups = |groups: Value| json!({"roles": ["viewer"], "groups": groups});
    let ours = format!("/facility:{FACILITY}/staff");
    for (list, expected) in [
        (json!(["everyone", ours]), Ok(only(&[FACILITY]))),
        (json!(["everyone", format!("/facility:{FACILITY}")]), Ok(only(&[]))),
        (json!([FACILITY]), Ok(only(&[]))),
        (json!(["/facility:north/staff"]), Err("facilities")),
        (json!(["/facility:/staff"]), Err("facilities")),
        (Value::Null, Err("facilities")),
    ] {
        let expected = expected.map(|scope| (Role::Viewer, scope));
        assert_eq!(allowed(&settings, &pair, groups(list.clone())).await, expected, "{list}");
    }
}

#[tokio::test]
async fn facilities_are_named_by_the_owners_keys_where_a_setting_says_so() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let claims = ClaimSettings { facilities_are: FacilitiesAre::Keys, ..ClaimSettings::default() };
    let settings = IssuerSettings { claims, ..issuer(&[&pair]) };
    let keys = |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        FacilityScope::Only(NamedFacilities { keys, ..NamedFacilities::default() })
    };
    for (list, expected) in [
        (json!(["N-1", 17]), Ok(keys(&["N-1", "17"]))),
        (json!(17), Ok(keys(&["17"]))),
        (json!([FACILITY]), Ok(keys(&[FACILITY]))),
        (json!([""]), Err("facilities")),
        (json!([1.5]), Err("facilities")),
        (json!([null]), Err("facilities")),
        (json!("x".repeat(1_001)), Err("facilities")),
    ] {
        let claims = json!({"roles": ["viewer"], "facilities": list});
        let expected = expected.map(|scope| (Role::Viewer, scope));
        assert_eq!(allowed(&settings, &pair, claims).await, expected, "{list}");
    }
}
