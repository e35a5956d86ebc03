use super::{super::Switch, *};

fn refused(change: impl FnOnce(&mut ServerSettings)) -> String {
    let mut server = ServerSettings::default();
    change(&mut server);
    server.check(&AuthSettings::default()).unwrap_err().to_string()
}

#[test]
fn proxies_are_addresses_and_networks() {
    let of = |text: &str| {
        let settings =
            ServerSettings { trusted_proxies: Some(text.into()), ..ServerSettings::default() };
        settings.proxies().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let all = of("10.0.0.7, 10.1.2.3/16,fd00::1/8 ,::ffff:10.0.0.8").unwrap();
    assert_eq!(all, ["10.0.0.7/32", "10.1.0.0/16", "fd00::/8", "10.0.0.8/32"]);
    for wrong in ["", "10.0.0.0/33", "proxy.example", "10.0.0.1,", "*", "10.0.0.1:80"] {
        let error = of(wrong).unwrap_err().to_string();
        assert!(error.contains("server.trusted_proxies") && error.contains("10.1.0.0/16"));
    }
}

#[test]
fn an_origin_is_what_a_browser_sends() {
    let check = |text: &str| {
        let server = ServerSettings { cors_origins: Some(text.into()), ..Default::default() };
        server.check(&AuthSettings::default())
    };
    assert!(check("https://board.example, http://localhost:5173").is_ok());
    for wrong in ["*", "null", "board.example", "https://board.example/", "https://a.example/x", ""]
    {
        let error = check(wrong).unwrap_err().to_string();
        assert!(error.contains("server.cors_origins"), "{wrong}: {error}");
    }
}

#[test]
fn what_belongs_together_is_set_together() {
    let error = refused(|server| server.tls_key = Some("key.pem".into()));
    assert!(error.contains("server.tls_certificate = not set"), "{error}");
    let error = refused(|server| server.tls_certificate = Some("chain.pem".into()));
    assert!(error.contains("server.tls_key = not set"), "{error}");
    let error = refused(|server| server.metrics = MetricsAccess::SignedIn);
    assert!(error.contains("server.metrics"), "{error}");
    let error = refused(|server| server.internal_bind = Some(server.bind.clone()));
    assert!(error.contains("server.internal_bind"), "{error}");
    let small = LimitSettings { event_bytes_per_minute: 1_000, ..LimitSettings::default() };
    let error = small.check(&ServerSettings::default()).unwrap_err().to_string();
    assert!(error.contains("limits.event_bytes_per_minute = 1000"), "{error}");
}

#[test]
fn other_machines_reach_no_listener_without_sign_in() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        let bind = refused(|server| server.bind = address.into());
        let internal = refused(|server| server.internal_bind = Some(address.into()));
        for error in [bind, internal] {
            assert!(error.contains("auth.sign_in") && error.contains("container"), "{error}");
        }
        let signed_in = AuthSettings { sign_in: Some(Switch::On), ..AuthSettings::default() };
        let server = ServerSettings { bind: address.into(), ..ServerSettings::default() };
        assert!(server.check(&signed_in).is_ok(), "{address}");
    }
}
