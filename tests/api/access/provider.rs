//! Sign-in at an identity provider that runs beside the test.

use reqwest::{Client, Method, Response, Url, redirect::Policy};
use serde_json::{Value, json};

use super::{
    added, asked,
    people::{SESSION, asked_with, cookie, from_page, set_cookie},
};
use crate::{
    on_both_stores,
    support::{Service, openid::OpenId, service::Launch, wait_until},
    tokens::{Pair, now_ms},
};

const SIGN_IN: &str = "__Host-facility-summary-sign-in";
const CLIENT: &str = "summary-of-blood";
const PUBLIC: &str = "https://summary.example";

/// A provider with its key, and a service whose people sign in there.
struct World {
    provider: OpenId,
    pair: Pair,
    service: Service,
}

/// A sign-in that a browser has begun: its cookie, and what the provider was asked.
struct Begun {
    cookie: String,
    asked: Url,
}

impl Begun {
    fn parameter(&self, name: &str) -> String {
        let found = self.asked.query_pairs().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("{name} in {}", self.asked)).1.into_owned()
    }
}

impl World {
    async fn new(launch: Launch) -> World {
        World::with(launch.env("FACILITY_SUMMARY__AUTH__CLIENT_SECRET", "s&cret +1")).await
    }

    async fn with(launch: Launch) -> World {
        let pair = Pair::new("k1");
        let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
        let launch = launch
            .env("FACILITY_SUMMARY__AUTH__ISSUER", provider.issuer())
            .env("FACILITY_SUMMARY__AUTH__CLIENT_ID", CLIENT.to_owned())
            .env("FACILITY_SUMMARY__AUTH__PUBLIC_URL", PUBLIC);
        let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
        let service = launch.credential(&admin).start().await;
        World { provider, pair, service }
    }

    /// What a browser gets that follows no redirect.
    async fn get(&self, path: &str, cookie: Option<&str>) -> Response {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let request = client.get(format!("http://{}{path}", self.service.address));
        let request =
            cookie.into_iter().fold(request, |request, text| request.header("cookie", text));
        request.send().await.unwrap()
    }

    async fn begin(&self, query: &str) -> Begun {
        let response = self.get(&format!("/v1/auth/sign-in{query}"), None).await;
        let status = response.status();
        assert_eq!(status, 302, "{:?}", response.text().await);
        let set = set_cookie(&response, SIGN_IN);
        for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
            assert!(set.split("; ").any(|found| found == part), "{set}");
        }
        let asked = response.headers()["location"].to_str().unwrap().parse().unwrap();
        Begun { cookie: cookie(&response, SIGN_IN), asked }
    }

    fn client(&self) -> String {
        CLIENT.to_owned()
    }

    /// The provider will give an ID token for this sign-in, with changes to its claims.
    fn give(&self, begun: &Begun, change: impl FnOnce(&mut Value)) {
        let mut claims = json!({
            "iss": self.provider.issuer(), "aud": self.client(), "sub": "u1", "sid": "s1",
            "name": "Anna Baker", "nonce": begun.parameter("nonce"),
            "iat": now_ms() / 1_000, "exp": now_ms() / 1_000 + 60, "roles": ["operator"],
            "facilities": ["7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11"],
        });
        change(&mut claims);
        let token = self.pair.signed(&claims);
        self.provider.give(&begun.parameter("code_challenge"), &token);
    }

    /// The way back from the provider.
    async fn back(&self, begun: &Begun, change: impl FnOnce(&mut Vec<(&str, String)>)) -> Response {
        let mut answer = vec![
            ("code", "c0de".to_owned()),
            ("state", begun.parameter("state")),
            ("iss", self.provider.issuer()),
            ("session_state", "of the provider".to_owned()),
        ];
        change(&mut answer);
        let url = Url::parse_with_params("http://x/v1/auth/callback", &answer).unwrap();
        let path = format!("{}?{}", url.path(), url.query().unwrap());
        self.get(&path, Some(&begun.cookie)).await
    }

    /// Signs in, and returns the cookie.
    async fn signed_in(&self) -> String {
        let begun = self.begin("").await;
        self.give(&begun, |_| {});
        let response = self.back(&begun, |_| {}).await;
        assert_eq!(response.status(), 302, "{:?}", response.text().await);
        cookie(&response, SESSION)
    }

    async fn me(&self, cookie: &str) -> (u16, Value) {
        asked_with(&self.service, cookie, Method::GET, "/v1/auth/me").await
    }
}

on_both_stores! {
    async fn somebody_signs_in_at_the_provider_and_the_browser_never_holds_a_token(
        launch: Launch,
    ) {
        let world = World::new(launch).await;
        let begun = world.begin("?return_to=/wall%3Fa%3D1").await;
        let there = format!("{}/authorize?", world.provider.issuer());
        assert!(begun.asked.as_str().starts_with(&there), "{}", begun.asked);
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", world.client().as_str()),
            ("redirect_uri", "https://summary.example/v1/auth/callback"),
            ("scope", "openid profile"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(begun.parameter(name), value);
        }
        world.give(&begun, |_| {});
        let response = world.back(&begun, |_| {}).await;
        assert_eq!(response.status(), 302, "{:?}", response.text().await);
        assert_eq!(response.headers()["location"], "/wall?a=1");
        assert!(set_cookie(&response, SESSION).contains("SameSite=Strict"));
        assert!(set_cookie(&response, SIGN_IN).contains("Max-Age=0"), "it is over");
        let session = cookie(&response, SESSION);
        let (status, me) = world.me(&session).await;
        assert_eq!(status, 200);
        assert_eq!(me["id"], format!("token:{}#u1", world.provider.issuer()));
        assert_eq!((&me["name"], &me["role"]), (&json!("Anna Baker"), &json!("operator")));
        assert_eq!(me["facilities"], json!(["7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11"]));
        let (head, form) = world.provider.exchanged().pop().unwrap();
        assert!(head.to_lowercase().contains("authorization: basic "), "{head}");
        assert!(form.contains("code=c0de") && !form.contains("cret"), "{form}");
        let log = world.service.logs().join("\n");
        assert!(!log.contains("s&cret") && !log.contains("eyJ"), "{log}");
    }
}

#[tokio::test]
async fn an_answer_that_is_forged_is_refused() {
    let world = World::new(Service::on_sqlite()).await;
    let (begun, other) = (world.begin("").await, world.begin("").await);
    world.give(&begun, |_| {});
    let refused = async |response: Response, status: u16, what: &str| {
        assert!(response.headers().get_all("set-cookie").iter().count() == 0, "{what}");
        assert_eq!(response.status(), status, "{what}: {:?}", response.text().await);
    };
    let state = other.parameter("state");
    refused(world.back(&begun, |answer| answer[1].1 = state).await, 400, "another state").await;
    refused(world.back(&begun, |answer| drop(answer.remove(1))).await, 400, "no state").await;
    let mixed = Begun { cookie: other.cookie.clone(), asked: begun.asked.clone() };
    refused(world.back(&mixed, |_| {}).await, 400, "another browser").await;
    let path = format!("/v1/auth/callback?code=c&state={}", begun.parameter("state"));
    refused(world.get(&path, None).await, 400, "no cookie").await;
    let elsewhere = "https://other.example".to_owned();
    refused(world.back(&begun, |answer| answer[2].1 = elsewhere).await, 400, "another iss").await;
    refused(world.back(&begun, |answer| drop(answer.remove(2))).await, 400, "no iss").await;
    let twice = ("state", begun.parameter("state"));
    refused(world.back(&begun, |answer| answer.push(twice)).await, 400, "state twice").await;
    let denied = |answer: &mut Vec<(&str, String)>| answer[0] = ("error", "access_denied".into());
    refused(world.back(&begun, denied).await, 403, "the provider says no").await;
    assert_eq!(world.provider.exchanged().len(), 0, "no code was sent for these");
    world.provider.give("another challenge", "x");
    refused(world.back(&begun, |_| {}).await, 403, "another verifier").await;
    let stranger = Pair::new("k1");
    for (what, change) in [
        ("another nonce", (|claims| claims["nonce"] = json!("x")) as fn(&mut Value)),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("another audience", |claims| claims["aud"] = json!("facility-summary-of-others")),
        ("another party", |claims| claims["azp"] = json!("other")),
        ("another issuer", |claims| claims["iss"] = json!("https://other.example")),
        ("over", |claims| claims["exp"] = json!(now_ms() / 1_000 - 100)),
        ("no role", |claims| claims["roles"] = json!(["guest"])),
        ("no facilities", |claims| drop(claims.as_object_mut().unwrap().remove("facilities"))),
    ] {
        world.give(&begun, change);
        refused(world.back(&begun, |_| {}).await, 403, what).await;
    }
    let claims = json!({
        "iss": world.provider.issuer(), "aud": world.client(), "sub": "u1",
        "nonce": begun.parameter("nonce"), "exp": now_ms() / 1_000 + 60, "roles": ["admin"],
    });
    world.provider.give(&begun.parameter("code_challenge"), &stranger.signed(&claims));
    refused(world.back(&begun, |_| {}).await, 403, "another key").await;
    world.give(&begun, |_| {});
    assert_eq!(world.back(&begun, |_| {}).await.status(), 302, "the right one counts");
}

#[tokio::test]
async fn a_browser_is_sent_back_to_this_service_only() {
    let world = World::new(Service::on_sqlite()).await;
    for to in
        ["https://evil.example/", "//evil.example", "/%5Cevil.example", "/%09/evil.example", "wall"]
    {
        let refused = world.get(&format!("/v1/auth/sign-in?return_to={to}"), None).await;
        assert_eq!(refused.status(), 400, "{to}");
        assert!(refused.headers().get("location").is_none());
    }
    let other = world.get("/v1/auth/sign-in?issuer=https://evil.example", None).await;
    assert_eq!(other.status(), 404);
    // Whoever can change the cookie gets no further, either.
    let begun = world.begin("").await;
    world.give(&begun, |_| {});
    let evil =
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, "//evil.example");
    let start = begun.cookie.rsplit_once('.').unwrap().0;
    let changed = Begun { cookie: format!("{start}.{evil}"), asked: begun.asked.clone() };
    let response = world.back(&changed, |_| {}).await;
    assert_eq!(response.headers()["location"], "/");
}

#[tokio::test]
async fn a_session_ends_when_the_provider_says_so() {
    let world = World::with(Service::on_sqlite()).await;
    let begun = world.begin("").await;
    world.give(&begun, |claims| claims["session_expiry"] = json!(now_ms() / 1_000 + 3));
    let short = world.back(&begun, |_| {}).await;
    let age = set_cookie(&short, SESSION);
    assert!(["Max-Age=1", "Max-Age=2", "Max-Age=3"].iter().any(|part| age.contains(part)), "{age}");
    let short = cookie(&short, SESSION);
    let (head, form) = world.provider.exchanged().pop().unwrap();
    assert!(!head.to_lowercase().contains("authorization"), "it has no secret: {head}");
    assert!(form.contains("client_id="), "{form}");
    let long = world.signed_in().await;
    wait_until("it has ended", async || world.me(&short).await.0 == 401).await;
    assert_eq!(world.me(&long).await.0, 200);
    // One that has ended already begins nothing, and takes no other session away.
    let begun = world.begin("").await;
    world.give(&begun, |claims| claims["session_expiry"] = json!(now_ms() / 1_000 - 5));
    let over = world.back(&begun, |_| {}).await;
    assert_eq!(over.status(), 401);
    assert!(over.headers().get("set-cookie").is_none());
}

#[tokio::test]
async fn signing_out_goes_on_at_the_provider_and_the_provider_signs_out_too() {
    let world = World::new(Service::on_postgres().await).await;
    let session = world.signed_in().await;
    let out = from_page(&world.service, Method::POST, "/v1/auth/logout").header("cookie", &session);
    // The public URL is the origin of every page.
    let answer = out.header("origin", PUBLIC).send().await.unwrap().json::<Value>().await.unwrap();
    let url = answer["end_session_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/end?client_id=", world.provider.issuer())), "{url}");
    assert!(url.ends_with("post_logout_redirect_uri=https%3A%2F%2Fsummary.example%2F"), "{url}");
    assert_eq!(world.me(&session).await.0, 401);
    let session = world.signed_in().await;
    let logout = async |change: fn(&mut Value), pair: &Pair| {
        let mut claims = json!({
            "iss": world.provider.issuer(), "aud": world.client(), "sub": "u1", "sid": "s1",
            "iat": now_ms() / 1_000, "exp": now_ms() / 1_000 + 60, "jti": "j",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        change(&mut claims);
        let request = world.service.request_as(None, Method::POST, "/v1/auth/backchannel-logout");
        let form = format!("logout_token={}", pair.signed(&claims));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap().status().as_u16()
    };
    let pair = &world.pair;
    for (what, change) in [
        ("an ID token", (|claims| claims["nonce"] = json!("x")) as fn(&mut Value)),
        ("no event", |claims| claims["events"] = json!({})),
        ("another client", |claims| claims["aud"] = json!("other")),
        ("nobody", |claims| {
            claims.as_object_mut().unwrap().retain(|name, _| name != "sub" && name != "sid");
        }),
        ("over", |claims| claims["exp"] = json!(now_ms() / 1_000 - 100)),
        ("of no time", |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
    ] {
        assert_eq!(logout(change, pair).await, 400, "{what}");
    }
    assert_eq!(logout(|_| {}, &Pair::new("k1")).await, 400, "another key");
    assert_eq!(logout(|claims| claims["sid"] = json!("other"), pair).await, 200);
    assert_eq!(logout(|claims| claims["iat"] = json!(now_ms() / 1_000 - 30), pair).await, 200);
    assert_eq!(world.me(&session).await.0, 200, "a token of before, sent again, is not about it");
    assert_eq!(logout(|_| {}, pair).await, 200);
    assert_eq!(world.me(&session).await.0, 401);
    let session = world.signed_in().await;
    let all = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("sid"));
    assert_eq!(logout(all, pair).await, 200);
    assert_eq!(world.me(&session).await.0, 401, "all of the person");
}

#[tokio::test]
async fn while_the_provider_is_away_nobody_signs_in_and_sessions_go_on() {
    let mut world = World::new(Service::on_sqlite()).await;
    let session = world.signed_in().await;
    let begun = world.begin("").await;
    world.give(&begun, |_| {});
    // Neither the code nor the secret of the client goes where a redirect points to.
    let elsewhere = OpenId::start(&[]).await;
    elsewhere.give(&begun.parameter("code_challenge"), "x");
    world.provider.redirect_codes(Some(format!("{}/token", elsewhere.issuer())));
    assert_eq!(world.back(&begun, |_| {}).await.status(), 503);
    assert!(elsewhere.exchanged().is_empty(), "{:?}", elsewhere.exchanged());
    world.provider.redirect_codes(None);
    world.provider.go_away().await;
    assert_eq!(world.back(&begun, |_| {}).await.status(), 503);
    assert_eq!(world.me(&session).await.0, 200);
    world.provider.come_back().await;
    assert_eq!(world.back(&begun, |_| {}).await.status(), 302);
    let none = asked(&world.service, None, Method::GET, "/v1/auth/sign-in?issuer=x").await;
    assert_eq!(none.status(), 404);
}

#[tokio::test]
async fn a_denial_ends_the_sessions_of_its_subject_for_good_and_refuses_new_ones() {
    let world = World::new(Service::on_sqlite()).await;
    let cookie = world.signed_in().await;
    assert_eq!(world.me(&cookie).await.0, 200);
    let denial = json!({"issuer": world.provider.issuer(), "subject": "u1"});
    let denied: Value =
        world.service.post("/v1/denied-principals", &denial).await.json().await.unwrap();
    assert_eq!(world.me(&cookie).await.0, 401);
    let begun = world.begin("").await;
    world.give(&begun, |_| {});
    let back = world.back(&begun, |_| {}).await;
    assert_eq!(back.status(), 403);
    assert!(back.headers().get("set-cookie").is_none());
    let allowed = format!("/v1/denied-principals/{}", denied["id"].as_str().unwrap());
    let allow = world.service.request(Method::DELETE, &allowed);
    assert_eq!(allow.send().await.unwrap().status(), 204);
    assert_eq!(world.me(&cookie).await.0, 401, "it has ended");
    assert_eq!(world.me(&world.signed_in().await).await.0, 200);
}

#[tokio::test]
async fn the_log_warns_where_id_tokens_count_as_bearer_tokens() {
    let provider = OpenId::start(&[]).await;
    for (client, warns) in [("facility-summary", true), (CLIENT, false)] {
        let launch = Service::on_sqlite()
            .env("FACILITY_SUMMARY__AUTH__ISSUER", provider.issuer())
            .env("FACILITY_SUMMARY__AUTH__CLIENT_ID", client)
            .env("FACILITY_SUMMARY__AUTH__PUBLIC_URL", PUBLIC);
        let said = launch.start_to_listen().await.logs().join("\n");
        assert_eq!(said.contains("auth.audience is the client_id"), warns, "{said}");
    }
}
