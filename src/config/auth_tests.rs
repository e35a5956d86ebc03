use std::{collections::HashMap, io::Write};

use super::{
    Settings,
    auth::{FacilitiesAre, IssuerSettings, WithoutFacilities},
};
use crate::domain::access::Role;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    let environment: HashMap<String, String> =
        environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Settings::load_from(Some(path.path()), None, environment).map_err(|error| error.to_string())
}

const SECRET: &str = "thirty-two bytes of a good secret";

#[test]
fn issuers_are_read_with_the_spelling_of_their_names() {
    let file = r#"
        [auth]
        issuer = "https://one.example"
        leeway_seconds = 5
        [auth.claims]
        role = "realm_access.roles"
        [auth.roles]
        "Blood Viewers" = "viewer"
        ADMINS = "admin"
        [[auth.issuers]]
        issuer = "https://two.example/"
        without_facilities = "all"
        claims.facilities = "groups"
        claims.facility_pattern = "facility:{}"
        claims.facilities_are = "keys"
        roles = "ops=operator, x=y=viewer"
        [[auth.issuers]]
        issuer = "http://127.0.0.1:9/three"
    "#;
    let auth = load(file, &[]).unwrap().auth;
    assert_eq!(auth.main.claims.role, "realm_access.roles");
    assert_eq!(auth.main.leeway_seconds, 5);
    let roles = |pairs: &[(&str, Role)]| {
        Some(pairs.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect())
    };
    assert_eq!(auth.main.roles, roles(&[("Blood Viewers", Role::Viewer), ("ADMINS", Role::Admin)]));
    let two = &auth.issuers[0];
    assert_eq!(two.roles, roles(&[("ops", Role::Operator), ("x=y", Role::Viewer)]));
    assert_eq!(two.claims.facilities, "groups");
    assert_eq!(two.claims.facility_pattern.as_deref(), Some("facility:{}"));
    assert_eq!(two.claims.facilities_are, FacilitiesAre::Keys);
    assert_eq!(two.without_facilities, WithoutFacilities::All);
    assert_eq!((two.leeway_seconds, two.claims.role.as_str()), (30, "roles"), "nothing taken over");
    let three = IssuerSettings {
        issuer: Some("http://127.0.0.1:9/three".into()),
        ..IssuerSettings::default()
    };
    assert_eq!(auth.issuers[1], three);
    let sections: Vec<String> = auth.all_issuers().map(|(section, _)| section).collect();
    assert_eq!(sections, ["auth", "auth.issuers[0]", "auth.issuers[1]"]);
}

#[test]
fn the_environment_overrides_the_keys_of_auth_itself() {
    let file = "[auth]\nissuer = \"https://one.example\"\naudience = \"a\"\nclaims.role = \"r\"";
    let environment = [
        ("FACILITY_SUMMARY__AUTH__ISSUER", "https://Two.example"),
        ("FACILITY_SUMMARY__AUTH__SECRET", SECRET),
        ("FACILITY_SUMMARY__AUTH__LEEWAY_SECONDS", "7"),
        ("FACILITY_SUMMARY__AUTH__CLAIMS__FACILITIES", "groups"),
        ("FACILITY_SUMMARY__AUTH__ROLES", "Blood-Viewers=viewer"),
        ("FACILITY_SUMMARY__AUTH__SIGN_IN", "on"),
        ("FACILITY_SUMMARY__AUTH__AUDIT_LOG_DAYS", "30"),
    ];
    for (file, role) in [(file, "r"), ("", "roles")] {
        let auth = load(file, &environment).unwrap().auth;
        assert_eq!(auth.main.issuer.as_deref(), Some("https://Two.example"));
        assert_eq!(auth.secret.as_ref().map(|secret| secret.expose()), Some(SECRET));
        assert_eq!(auth.main.leeway_seconds, 7);
        assert_eq!((auth.is_on(), auth.audit_log_days), (true, 30));
        assert_eq!(auth.main.claims.role, role);
        assert_eq!(auth.main.claims.facilities, "groups");
        assert_eq!(auth.main.roles.unwrap()["Blood-Viewers"], Role::Viewer);
    }
}

/// Wrong settings below `[auth]`, each with the words of its error.
const BAD: &[(&str, &str)] = &[
    ("secret = \"topsecret\"", "auth.secret = ***: a secret must have at least 32 bytes, this"),
    ("secret = 7", "auth.secret = ***: must be a text"),
    ("keys = [\"topsecret\"]", "auth.keys = ***: must be public keys"),
    (
        "secret = \"topsecret topsecret topsecret topsecret\"\nsecret_file = \"f\"",
        "auth.secret_file = f: auth.secret is set as well",
    ),
    ("jwks_url = \"https://a.example/keys\"", "auth.issuer = not set: must be the claim iss"),
    ("keys = \"topsecret\"", "auth.issuer = not set"),
    ("issuer = \"\"", "auth.issuer = : must be the claim iss"),
    ("issuer = \"https://a.example/#b\"", "without spaces and #"),
    ("issuer = \"http://a.example\"", "must begin with https://, or with http:// and a loopback"),
    ("issuer = \"name\"", "where neither keys nor jwks_url are set"),
    ("issuer = \"ftp://a.example\"", "auth.issuer = ftp://a.example: must begin with https://"),
    ("issuer = \"facility-summary\"\nkeys = \"k\"", "must be another than those before it"),
    ("issuer = \"n\"\njwks_url = \"http://a.example/k\"", "auth.jwks_url = http://a.example/k"),
    ("issuer = \"n\"\nkeys = \"topsecret\"\nkeys_file = \"f\"", "set one of them"),
    ("issuer = \"https://a.example\"\naudience = \"\"", "auth.audience = : must not be empty"),
    ("issuer = \"https://a.example\"\nalgorithms = \"none\"", "auth.algorithms = none: must be"),
    ("issuer = \"https://a.example\"\nalgorithms = \"ES256,\"", "auth.algorithms = : must be"),
    ("issuer = \"https://a.example\"\ntoken_type = \"\"", "auth.token_type = empty: must be"),
    ("issuer = \"https://a.example\"\nleeway_seconds = 301", "a whole number from 0 to 300"),
    ("issuer = \"https://a.example\"\nclaims.role = \"\"", "auth.claims.role = : must be"),
    ("issuer = \"https://a.example\"\nclaims.role = \"a..b\"", "auth.claims.role = a..b: must be"),
    ("claims.facility_pattern = \"facility:\"", "auth.issuer = not set"),
    (
        "issuer = \"https://a.example\"\nclaims.facility_pattern = \"facility:\"",
        "auth.claims.facility_pattern = facility:: must have {} once",
    ),
    ("claims.roles = \"a\"", "auth.claims.roles is unknown: the keys of auth are sign_in, "),
    ("roles.a = \"vewer\"", "auth.roles.\"a\" = vewer: must be one of viewer, operator, admin"),
    ("roles.a = 7", "auth.roles.\"a\" = integer: must be one of viewer"),
    ("roles = \"viewer\"", "auth.roles = viewer: must be pairs such as"),
    (
        "roles = \"staff=viewer, staff = admin\"",
        "auth.roles.\"staff\" = viewer, and then admin: must stand there once",
    ),
    ("roles.a = \"viewer\"\nroles.a = \"admin\"", "is not TOML: line 3: "),
    ("without_facilities = \"maybe\"", "must be one of refuse, all"),
    ("issuers = 7", "auth.issuers = integer: must be tables, [[auth.issuers]]"),
    ("issuers = [7]", "auth.issuers = array: must be tables"),
    ("issuers = [{ audience = \"a\" }]", "auth.issuers[0].issuer = not set"),
    ("issuers = [{ isuer = \"a\" }]", "auth.isuer is unknown: the keys of auth are"),
    ("issuers = [{ secret = \"topsecret\" }]", "auth.issuers[0].secret = set: stands in [auth]"),
    ("issuers = [{ issuer = 7 }]", "auth.issuers[0].issuer = 7: must be the claim iss"),
    (
        "issuer = \"https://a.example\"\nissuers = [{ issuer = \"https://a.example\" }]",
        "auth.issuers[0].issuer = https://a.example: must be another than those before it",
    ),
    ("secret = \"topsecret", "is not TOML: line 2: "),
    ("secret = topsecret", "is not TOML: line 2: "),
];

#[test]
fn a_bad_key_is_refused_and_no_secret_is_shown() {
    for (keys, words) in BAD {
        let error = load(&format!("[auth]\n{keys}"), &[]).unwrap_err();
        assert!(error.contains(words), "{keys}: {error}");
        assert!(!error.contains("topsecret"), "{error}");
    }
    for (name, text, words) in [
        ("FACILITY_SUMMARY__AUTH__SECRET", "topsecret", "auth.secret = ***: a secret must have"),
        ("FACILITY_SUMMARY__AUTH__SECRET", "", "auth.secret = ***: a secret must have"),
        ("FACILITY_SUMMARY__AUTH", "a", "auth is unknown: the keys of auth are"),
        ("FACILITY_SUMMARY__AUTH__ISSUERS", "a", "auth.issuers is unknown"),
        ("FACILITY_SUMMARY__AUTH__LEEWAY_SECONDS", "x", "auth.leeway_seconds = \"x\": must be"),
    ] {
        let error = load("", &[(name, text)]).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("topsecret"), "{error}");
    }
    let error = load("auth = 7", &[]).unwrap_err();
    assert!(error.contains("auth = no table"), "{error}");
    let settings = load(&format!("[auth]\nsecret = \"{SECRET}\""), &[]).unwrap();
    assert!(!format!("{settings:?}").contains(SECRET));
}

#[test]
fn sign_in_at_a_provider_needs_all_that_it_needs() {
    let issuer = "issuer = \"https://a.example\"";
    let client = "client_id = \"c\"";
    for (keys, words) in [
        ("public_url = \"https://a.example/path\"".to_owned(), "without a path"),
        ("public_url = \"https://a.example/?q\"".to_owned(), "without a path"),
        ("public_url = \"https://user@a.example\"".to_owned(), "must be https://host"),
        ("public_url = \"http://a.example\"".to_owned(), "must be https://host"),
        (format!("{issuer}\n{client}"), "auth.public_url must be set as well"),
        (format!("{issuer}\nclient_secret = \"topsecret\""), "client_id must be set as well"),
        (
            format!(
                "{issuer}\n{client}\nclient_secret = \"topsecret\"\nclient_secret_file = \"f\""
            ),
            "client_secret is set as well",
        ),
        (
            format!("{issuer}\n{client}\npublic_url = \"https://b.example\"\nscopes = \"profile\""),
            "must contain openid",
        ),
        (
            format!("issuer = \"n\"\nkeys = \"k\"\n{client}\npublic_url = \"https://b.example\""),
            "the issuer must be a URL",
        ),
        ("issuers = [{ session_hours = 1 }]".to_owned(), "stands in [auth] only"),
        ("session_hours = 0".to_owned(), "a whole number from 1 to 8760"),
    ] {
        let error = load(&format!("[auth]\n{keys}"), &[]).unwrap_err();
        assert!(error.contains(words), "{keys}: {error}");
        assert!(!error.contains("topsecret"), "{error}");
    }
    let keys = format!("{issuer}\n{client}\npublic_url = \"https://B.example:443/\"");
    let auth = load(&format!("[auth]\n{keys}"), &[]).unwrap().auth;
    let origin = super::auth_people::origin_of(auth.public_url.as_deref().unwrap());
    assert_eq!(origin.as_deref(), Some("https://b.example"), "as browsers write it");
}
