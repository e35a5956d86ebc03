//! Accounts: made by the command, used with a password, slowed down and never locked out.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{added, get_as, signed_in};
use crate::{
    on_both_stores,
    support::{Service, service::Launch, wait_until},
};

pub const PASSWORD: &str = "correct horse battery staple";
pub const SESSION: &str = "__Host-facility-summary-session";

/// Makes an account by the command.
pub async fn add_user(launch: &Launch, name: &str, options: &[&str]) {
    let mut words: Vec<&str> =
        ["user", "add", name].into_iter().chain(options.iter().copied()).collect();
    let is_of_facilities = options.iter().any(|word| ["viewer", "operator"].contains(word));
    if is_of_facilities && !options.contains(&"--facility") {
        words.push("--all-facilities");
    }
    let made = launch.run_with_input(&words, &format!("{PASSWORD}\n")).await;
    assert_eq!(made.code, Some(0), "{}", made.output);
}

/// A request without a credential, as a page of the service makes it.
pub fn from_page(service: &Service, method: Method, path: &str) -> RequestBuilder {
    service.request_as(None, method, path).header("sec-fetch-site", "same-origin")
}

/// Signs in by a password.
pub async fn login(service: &Service, name: &str, password: &str) -> Response {
    let request = from_page(service, Method::POST, "/v1/auth/login");
    request.json(&json!({"name": name, "password": password})).send().await.unwrap()
}

/// The header `Set-Cookie` that sets this cookie.
pub fn set_cookie(response: &Response, name: &str) -> String {
    let all = response.headers().get_all("set-cookie").iter();
    let mut all = all.map(|text| text.to_str().unwrap().to_owned());
    let found = all.find(|text| text.starts_with(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("it sets {name}: {:?}", response.headers()))
}

/// The cookie that an answer sets, as a browser sends it back.
pub fn cookie(response: &Response, name: &str) -> String {
    set_cookie(response, name).split(';').next().unwrap().to_owned()
}

/// The id and the secret of the session in a cookie.
pub fn parts(cookie: &str) -> (String, String) {
    let value = cookie.strip_prefix(&format!("{SESSION}=ss_")).expect("it is a session");
    let (id, secret) = value.split_once('_').unwrap();
    (id.to_owned(), secret.to_owned())
}

/// Signs in, and returns the cookie.
pub async fn session(service: &Service, name: &str) -> String {
    let response = login(service, name, PASSWORD).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    cookie(&response, SESSION)
}

/// What a page asks with a cookie.
pub async fn asked_with(
    service: &Service,
    cookie: &str,
    method: Method,
    path: &str,
) -> (u16, Value) {
    let request = from_page(service, method, path).header("cookie", cookie);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

/// A service with sign-in, and an account `anna`.
pub async fn with_anna(launch: Launch, options: &[&str]) -> Service {
    let service = signed_in(launch).await;
    add_user(service.launch(), "anna", options).await;
    service
}

/// The value of a metric.
async fn metric(service: &Service, name: &str) -> f64 {
    let text = service.get("/metrics").await.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0.0, |value| value.parse().unwrap())
}

on_both_stores! {
    async fn an_account_signs_in_by_its_password_and_the_cookie_is_for_this_host_only(
        launch: Launch,
    ) {
        let service = with_anna(launch, &["--role", "viewer"]).await;
        let response = login(&service, "Anna", PASSWORD).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["vary"], "Cookie, Authorization");
        let set = set_cookie(&response, SESSION);
        for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(set.split("; ").any(|found| found == part), "{set}");
        }
        let age = set.split("Max-Age=").nth(1).and_then(|rest| rest.split(';').next());
        let age: u64 = age.unwrap().parse().unwrap();
        assert!((604_000..=604_800).contains(&age) && !set.contains("Domain"), "{set}");
        let cookie = cookie(&response, SESSION);
        let me: Value = response.json().await.unwrap();
        let expected = json!(["user:anna", "anna", "viewer", null]);
        assert_eq!(json!([me["id"], me["name"], me["role"], me["facilities"]]), expected);
        let (status, again) = asked_with(&service, &cookie, Method::GET, "/v1/auth/me").await;
        assert_eq!((status, &again), (200, &me));
        let (status, list) = asked_with(&service, &cookie, Method::GET, "/v1/facilities").await;
        assert_eq!(status, 200, "{list}");
        let plain = service.request_as(None, Method::GET, "/v1/facilities");
        let answer = plain.header("cookie", &cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200, "a read needs nothing more");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|vary| *vary == "Cookie, Authorization"), "{vary:?}");
        let control = answer.headers()["cache-control"].to_str().unwrap().to_owned();
        assert!(control.contains("private"), "{control}");
        let (status, _) = asked_with(&service, &cookie, Method::GET, "/v1/api-keys").await;
        assert_eq!(status, 403, "anna is no admin");
        let secret = &parts(&cookie).1;
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        for text in [service.logs().join("\n"), log.clone()] {
            assert!(!text.contains(secret.as_str()) && !text.contains(PASSWORD), "{text}");
        }
        assert!(log.contains("session.started") && log.contains("user.added"), "{log}");
    }
}

on_both_stores! {
    async fn an_unknown_name_a_disabled_account_and_a_wrong_password_are_one_and_the_same(
        launch: Launch,
    ) {
        let service = with_anna(launch, &["--role", "viewer"]).await;
        add_user(service.launch(), "ben", &["--role", "viewer"]).await;
        let done = service.launch().run(&["user", "disable", "ben"]).await;
        assert_eq!(done.code, Some(0), "{}", done.output);
        let mut answers = Vec::new();
        for (name, password) in
            [("anna", "another one"), ("ben", PASSWORD), ("nobody", PASSWORD), ("ä b", PASSWORD)]
        {
            let before = metric(&service, "password_hashes_total").await;
            let response = login(&service, name, password).await;
            let hashes = metric(&service, "password_hashes_total").await - before;
            assert!(response.headers().get("set-cookie").is_none());
            let head = (response.status().as_u16(), response.headers()["www-authenticate"].clone());
            answers.push((head, response.text().await.unwrap(), hashes.to_string()));
        }
        assert_eq!(answers[0].0.0, 401);
        assert_eq!(answers[0].2, "1", "a password was hashed");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let outcome = "sign_ins_total{outcome=\"refused\",way=\"password\"}";
        assert_eq!(metric(&service, outcome).await, 4.0);
        for (name, password) in [("n".repeat(101), "x".into()), ("anna".into(), "p".repeat(1_001))]
        {
            let before = metric(&service, "password_hashes_total").await;
            assert_eq!(login(&service, &name, &password).await.status(), 422, "too long");
            assert_eq!(metric(&service, "password_hashes_total").await, before);
        }
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        assert!(!log.contains("sign_in.failed"), "anybody could fill it: {log}");
    }
}

on_both_stores! {
    async fn disabling_or_resetting_an_account_ends_its_sessions_and_enabling_begins_none(
        launch: Launch,
    ) {
        let service = with_anna(launch, &["--role", "viewer"]).await;
        add_user(service.launch(), "ben", &["--role", "viewer"]).await;
        let other = session(&service, "ben").await;
        let is = async |cookie: &str| {
            asked_with(&service, cookie, Method::GET, "/v1/auth/me").await.0
        };
        let run = async |words: &[&str]| {
            let done = service.launch().run(words).await;
            assert_eq!(done.code, Some(0), "{}", done.output);
            done.output
        };
        let first = session(&service, "anna").await;
        assert_eq!(is(&first).await, 200);
        run(&["user", "disable", "anna"]).await;
        wait_until("the session has ended", async || is(&first).await == 401).await;
        run(&["user", "enable", "anna"]).await;
        let second = session(&service, "anna").await;
        assert_eq!((is(&first).await, is(&second).await), (401, 200));
        let made = run(&["user", "reset", "anna", "--generate"]).await;
        wait_until("the session has ended", async || is(&second).await == 401).await;
        assert_eq!(login(&service, "anna", PASSWORD).await.status(), 401);
        let password = made.lines().find(|line| line.len() == 24 && !line.contains(' ')).unwrap();
        assert_eq!(login(&service, "anna", password).await.status(), 200);
        assert_eq!(is(&other).await, 200, "the sessions of others go on");
        let list = run(&["user", "list"]).await;
        assert!(list.contains("anna  viewer") && list.contains("2 accounts"), "{list}");
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        for action in ["user.added", "user.disabled", "user.enabled", "user.reset"] {
            assert!(log.contains(action), "{action}: {log}");
        }
    }
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_refused_and_a_name_is_given_once() {
    let service = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let facility = "0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d";
    for (words, input, code, word) in [
        (vec!["add", "an na", "--role", "admin"], PASSWORD, 2, "1 to 100 letters"),
        (vec!["add", "ANNA", "--role", "admin"], PASSWORD, 1, "already"),
        (vec!["add", "x", "--role", "service"], PASSWORD, 2, "a program has a key"),
        (vec!["add", "x", "--role", "admin", "--facility", facility], PASSWORD, 2, "--facility"),
        (vec!["add", "x", "--role", "viewer"], PASSWORD, 2, "or --all-facilities"),
        (vec!["add", "x", "--role", "admin"], "short", 2, "at least 12 characters"),
        (vec!["add", "x", "--role", "admin"], "", 2, "at least 12 characters"),
        (vec!["disable", "nobody"], "", 1, "user list"),
        (vec!["enable", "anna"], "", 1, "user list"),
        (vec!["reset", "nobody"], PASSWORD, 1, "user list"),
        (vec!["reset", "anna"], "anna", 2, "at least 12 characters"),
    ] {
        let words: Vec<&str> = ["user"].into_iter().chain(words).collect();
        let done = service.launch().run_with_input(&words, input).await;
        assert_eq!(done.code, Some(code), "{words:?}: {}", done.output);
        assert!(done.output.contains(word), "{words:?}: {}", done.output);
    }
}

/// A client whose requests come from this address of this machine.
fn client_at(address: IpAddr) -> Client {
    Client::builder().no_proxy().local_address(address).build().unwrap()
}

async fn login_from(client: &Client, service: &Service, password: &str) -> Response {
    let url = format!("http://{}/v1/auth/login", service.address);
    let request = client.post(url).header("sec-fetch-site", "same-origin");
    request.json(&json!({"name": "anna", "password": password})).send().await.unwrap()
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_the_owner_signs_in_from_elsewhere() {
    let service = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let before = metric(&service, "password_hashes_total").await;
    let mut refused = 0;
    let [guesser, owner] = [2, 3].map(|n| client_at([127, 0, 0, n].into()));
    for _ in 0..30 {
        let response = login_from(&guesser, &service, "a wrong password").await;
        match response.status().as_u16() {
            401 => {}
            429 => {
                refused += 1;
                let after: u32 =
                    response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=12).contains(&after), "{after}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused >= 15, "{refused}");
    let hashes = metric(&service, "password_hashes_total").await - before;
    assert_eq!(hashes + f64::from(refused), 30.0, "what is refused is not verified");
    let right = login_from(&guesser, &service, PASSWORD).await;
    assert_eq!(right.status(), 429, "a right password there is not told from a wrong one");
    let owner = login_from(&owner, &service, PASSWORD).await;
    assert_eq!(owner.status(), 200, "nobody is locked out");
}

#[tokio::test]
async fn a_flood_of_passwords_is_bounded_and_does_not_stop_other_requests() {
    let service = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let clients: Vec<Client> = (1..=150).map(|n| client_at([127, 0, 1, n].into())).collect();
    let ask = async |client: &Client| {
        let response = login_from(client, &service, "a wrong password").await;
        (response.status().as_u16(), response.headers().get("retry-after").is_some())
    };
    // All but the first twenty wait for a second, and come at the same time.
    let flood = futures_util::future::join_all(clients.iter().map(ask));
    let reads = async {
        for _ in 0..50 {
            assert_eq!(service.get("/v1/facilities").await.status(), 200);
        }
    };
    let (answers, ()) = tokio::join!(flood, reads);
    let busy = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!(answers.iter().all(|answer| [(401, false), (503, true)].contains(answer)));
    assert!(busy > 0, "64 may wait");
    // The account is being guessed at: wherever somebody tries it from, the answer comes later.
    let began = Instant::now();
    assert_eq!(ask(&client_at([127, 0, 2, 1].into())).await.0, 401);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_sign_in_there_is_nothing_to_sign_in_to() {
    let service = Service::on_sqlite().start().await;
    assert_eq!(login(&service, "anna", PASSWORD).await.status(), 404);
    assert_eq!(get_as(&service, "x", "/v1/auth/sessions").await.0, 404);
    assert_eq!(get_as(&service, "x", "/v1/auth/sign-in").await.0, 404);
    let launch = Service::on_sqlite();
    let made = launch.run_with_input(&["user", "add", "a", "--role", "admin"], PASSWORD).await;
    assert!(made.code == Some(0) && made.output.contains("auth.sign_in"), "{}", made.output);
    let key = added(&launch, &["--role", "admin", "--name", "x"]).await;
    let service =
        launch.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on").credential(&key).start().await;
    assert_eq!(login(&service, "a", PASSWORD).await.status(), 200);
}
