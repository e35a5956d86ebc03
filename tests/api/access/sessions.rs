//! Sessions: who takes them, from where, how long, and how they end.

use std::time::{Duration, Instant};

use jiff::ToSpan;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    added, asked, get_as, key_of,
    people::{
        PASSWORD, SESSION, add_user, asked_with, cookie, from_page, login, parts, session,
        with_anna,
    },
};
use crate::{
    live::client::Live,
    on_both_stores,
    support::{
        PATIENCE, Service, faketime::FakeClock, plain_sql, postgres::Postgres, redis::Redis,
        wait_until,
    },
};

const ME: &str = "/v1/auth/me";

/// The id of the session in a cookie.
fn id_of(cookie: &str) -> String {
    parts(cookie).0
}

on_both_stores! {
    async fn sessions_are_listed_and_ended_by_their_owner_and_by_an_admin(launch: Launch) {
        let service = with_anna(launch, &["--role", "viewer"]).await;
        add_user(service.launch(), "ben", &["--role", "operator"]).await;
        let (one, two) = (session(&service, "anna").await, session(&service, "anna").await);
        let login = from_page(&service, Method::POST, "/v1/auth/login")
            .header("user-agent", "x".repeat(5_000))
            .json(&json!({"name": "ben", "password": PASSWORD}));
        let of_ben = cookie(&login.send().await.unwrap(), SESSION);
        let ask = async |cookie: &str, method: Method, path: &str| {
            asked_with(&service, cookie, method, path).await
        };
        let (status, list) = ask(&one, Method::GET, "/v1/auth/sessions").await;
        assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 2), "{list}");
        for item in list["items"].as_array().unwrap() {
            assert_eq!(item["principal"], "user:anna");
            assert_eq!(item["is_this"], item["id"] == id_of(&one));
            assert_eq!(item["address"], "127.0.0.1");
        }
        assert!(!list.to_string().contains(&parts(&one).1));
        assert_eq!(ask(&one, Method::GET, "/v1/auth/sessions?of=all").await.0, 403);
        assert_eq!(ask(&one, Method::GET, "/v1/auth/sessions?of=ben").await.0, 400);
        let path = |cookie: &str| format!("/v1/auth/sessions/{}", id_of(cookie));
        assert_eq!(ask(&one, Method::DELETE, &path(&of_ben)).await.0, 404, "not hers");
        for path in ["/v1/auth/sessions/0a1b2c3d4e5f", "/v1/auth/sessions/%00"] {
            assert_eq!(ask(&one, Method::DELETE, path).await.0, 404, "{path}");
        }
        assert_eq!(ask(&of_ben, Method::GET, ME).await.0, 200);
        assert_eq!(ask(&one, Method::DELETE, &path(&two)).await.0, 204);
        assert_eq!(ask(&two, Method::GET, ME).await.0, 401, "at once, where it was ended");
        assert_eq!(ask(&one, Method::GET, ME).await.0, 200);
        let all: Value = service.get("/v1/auth/sessions?of=all").await.json().await.unwrap();
        assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
        let agents = all["items"].as_array().unwrap().iter().map(|one| one["agent"].as_str());
        assert!(agents.flatten().any(|agent| agent == "x".repeat(200)), "{all}");
        let ended = service.request(Method::DELETE, &path(&of_ben)).send().await.unwrap();
        assert_eq!(ended.status(), 204, "an admin");
        assert_eq!(ask(&of_ben, Method::GET, ME).await.0, 401);
        let out = from_page(&service, Method::POST, "/v1/auth/logout").header("cookie", &one);
        let out = out.send().await.unwrap();
        assert_eq!(out.status(), 200);
        assert_eq!(cookie(&out, SESSION), format!("{SESSION}="), "the cookie is taken away");
        assert_eq!(out.json::<Value>().await.unwrap(), json!({"end_session_url": null}));
        assert_eq!(ask(&one, Method::GET, ME).await.0, 401);
        let log = service.get("/v1/audit-log").await.text().await.unwrap();
        assert_eq!(log.matches("session.ended").count(), 3, "{log}");
        let none = service.request(Method::POST, "/v1/auth/logout").send().await.unwrap();
        assert_eq!(none.status(), 404, "a key is no session");
    }
}

on_both_stores! {
    async fn a_session_counts_as_a_cookie_only_and_a_header_counts_before_it(launch: Launch) {
        let service = with_anna(launch, &["--role", "viewer"]).await;
        let cookie = session(&service, "anna").await;
        let credential = cookie.split_once('=').unwrap().1;
        assert_eq!(get_as(&service, credential, ME).await.0, 401, "as a bearer");
        // It is remembered now, and is none all the same.
        assert_eq!(asked_with(&service, &cookie, Method::GET, ME).await.0, 200);
        assert_eq!(get_as(&service, credential, ME).await.0, 401, "as a bearer");
        let key = key_of(&service, "operator", &[]).await;
        let as_cookie = format!("{SESSION}={key}");
        assert_eq!(asked_with(&service, &as_cookie, Method::GET, ME).await.0, 401, "a key");
        let both = service.request_as(Some(&key), Method::GET, ME).header("cookie", &cookie);
        let me: Value = both.send().await.unwrap().json().await.unwrap();
        assert_eq!(me["role"], "operator", "the header counts");
        let wrong = service.request_as(Some("fs_"), Method::GET, ME).header("cookie", &cookie);
        assert_eq!(wrong.send().await.unwrap().status(), 401);
        let twice = format!("{cookie}; {cookie}");
        assert_eq!(asked_with(&service, &twice, Method::GET, ME).await.0, 401);
        let forged = match cookie.ends_with('A') {
            true => format!("{}B", &cookie[..cookie.len() - 1]),
            false => format!("{}A", &cookie[..cookie.len() - 1]),
        };
        assert_eq!(asked_with(&service, &forged, Method::GET, ME).await.0, 401);
    }
}

#[tokio::test]
async fn a_session_of_another_installation_is_none() {
    let here = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let there = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let cookie = session(&there, "anna").await;
    assert_eq!(asked_with(&there, &cookie, Method::GET, ME).await.0, 200);
    assert_eq!(asked_with(&here, &cookie, Method::GET, ME).await.0, 401);
}

on_both_stores! {
    async fn a_call_by_cookie_that_changes_something_comes_from_a_page_of_the_service(
        launch: Launch,
    ) {
        let service = with_anna(launch, &["--role", "admin"]).await;
        let cookie = session(&service, "anna").await;
        let (host, wish) = (service.address, json!({"name": "x", "role": "service"}));
        let ask = async |headers: &[(&str, &str)]| {
            let request = service.request_as(None, Method::POST, "/v1/api-keys").json(&wish);
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            request.header("cookie", &cookie).send().await.unwrap().status().as_u16()
        };
        let own = format!("http://{host}");
        for right in [
            vec![("sec-fetch-site", "same-origin")],
            vec![("origin", own.as_str())],
            vec![("sec-fetch-site", "same-origin"), ("origin", &own)],
        ] {
            assert_eq!(ask(&right).await, 201, "{right:?}");
        }
        for wrong in [
            vec![],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "none")],
            vec![("origin", "https://evil.example")],
            vec![("origin", "null")],
            vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
            vec![("sec-fetch-site", "cross-site"), ("origin", &own)],
        ] {
            assert_eq!(ask(&wrong).await, 403, "{wrong:?}");
        }
        let keys: Value = service.get("/v1/api-keys").await.json().await.unwrap();
        assert_eq!(keys["items"].as_array().unwrap().len(), 4, "three and the test's: {keys}");
        // Nobody is signed in as somebody else by a page of another site, either.
        for site in [None, Some("cross-site")] {
            let login = service.request_as(None, Method::POST, "/v1/auth/login");
            let login = match site {
                Some(site) => login.header("sec-fetch-site", site),
                None => login,
            };
            let body = json!({"name": "anna", "password": PASSWORD});
            let refused = login.json(&body).send().await.unwrap();
            assert_eq!(refused.status(), 403);
            assert!(refused.headers().get("set-cookie").is_none());
        }
        let logout = service.request_as(None, Method::POST, "/v1/auth/logout");
        let logout = logout.header("cookie", &cookie).send().await.unwrap();
        assert_eq!(logout.status(), 403);
        assert_eq!(asked_with(&service, &cookie, Method::GET, ME).await.0, 200);
    }
}

#[tokio::test]
async fn a_session_ends_on_every_replica_within_two_seconds_and_the_others_go_on() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    add_user(&launch, "anna", &["--role", "viewer"]).await;
    add_user(&launch, "ben", &["--role", "viewer"]).await;
    let redis = Redis::start();
    let launch = launch.env("REDIS_URL", redis.url()).credential(&admin);
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(launch.clone().start().await);
    }
    let other = session(&replicas[0], "ben").await;
    for round in 0..4 {
        let cookie = session(&replicas[round % 3], "anna").await;
        for replica in &replicas {
            // Also at once after it was begun elsewhere.
            assert_eq!(asked_with(replica, &cookie, Method::GET, ME).await.0, 200);
            assert_eq!(asked_with(replica, &other, Method::GET, ME).await.0, 200);
        }
        let at = &replicas[(round + 1) % 3];
        let began = match round {
            // By the whole account.
            3 => {
                let done = launch.run(&["user", "disable", "anna"]).await;
                assert_eq!(done.code, Some(0), "{}", done.output);
                Instant::now()
            }
            _ => {
                let path = format!("/v1/auth/sessions/{}", id_of(&cookie));
                assert_eq!(asked(at, Some(&admin), Method::DELETE, &path).await.status(), 204);
                assert_eq!(asked_with(at, &cookie, Method::GET, ME).await.0, 401, "at once");
                Instant::now()
            }
        };
        for replica in &replicas {
            wait_until("the session has ended", async || {
                asked_with(replica, &cookie, Method::GET, ME).await.0 == 401
            })
            .await;
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        for replica in &replicas {
            assert_eq!(asked_with(replica, &cookie, Method::GET, ME).await.0, 401);
            assert_eq!(asked_with(replica, &other, Method::GET, ME).await.0, 200);
        }
    }
}

#[tokio::test]
async fn a_session_that_is_used_all_the_time_ends_all_the_same() {
    let service = with_anna(Service::on_postgres().await, &["--role", "viewer"]).await;
    for _ in 0..10 {
        let cookie = session(&service, "anna").await;
        let using = async {
            let mut refused = 0;
            while refused < 30 {
                match asked_with(&service, &cookie, Method::GET, ME).await.0 {
                    401 => refused += 1,
                    200 => assert_eq!(refused, 0, "it came back"),
                    other => panic!("{other}"),
                }
            }
        };
        let ending = async {
            let path = format!("/v1/auth/sessions/{}", id_of(&cookie));
            let ended = service.request(Method::DELETE, &path).send().await.unwrap();
            assert_eq!(ended.status(), 204);
        };
        tokio::join!(using, ending);
    }
}

#[tokio::test]
async fn one_end_has_no_other_session_read_again() {
    let service = with_anna(Service::on_postgres().await, &["--role", "viewer"]).await;
    let (one, other) = (session(&service, "anna").await, session(&service, "anna").await);
    for cookie in [&one, &other] {
        assert_eq!(asked_with(&service, cookie, Method::GET, ME).await.0, 200);
    }
    // The row of the other is gone without a word: only who reads it again notices.
    let sql = format!("DELETE FROM facility_summary.sessions WHERE id = '{}'", id_of(&other));
    plain_sql::execute(service.database_url(), &sql).await;
    let path = format!("/v1/auth/sessions/{}", id_of(&one));
    assert_eq!(service.request(Method::DELETE, &path).send().await.unwrap().status(), 204);
    assert_eq!(asked_with(&service, &one, Method::GET, ME).await.0, 401);
    assert_eq!(asked_with(&service, &other, Method::GET, ME).await.0, 200, "it is remembered");
}

#[tokio::test]
async fn while_the_database_is_away_known_sessions_go_on_and_unknown_ones_get_503() {
    let postgres = Postgres::start(&[]);
    let launch = Service::on(postgres.fresh_database().await);
    let service = with_anna(launch, &["--role", "viewer"]).await;
    let (known, unknown) = (session(&service, "anna").await, session(&service, "anna").await);
    assert_eq!(asked_with(&service, &known, Method::GET, ME).await.0, 200);
    // A page that stays connected is told when its session ends.
    let short = session(&service, "anna").await;
    let (until_ms, id) = (crate::steps::now_ms() + 4_000, id_of(&short));
    let sql =
        format!("UPDATE facility_summary.sessions SET expires_ms = {until_ms} WHERE id = '{id}'");
    plain_sql::execute(service.database_url(), &sql).await;
    let watches = async |cookie: &str| {
        let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
        Live::connect(&service, &headers).await.0
    };
    let (mut ends, mut goes_on) = (watches(&short).await, watches(&known).await);
    postgres.crash();
    wait_until("an unknown session gets 503", async || {
        asked_with(&service, &unknown, Method::GET, ME).await.0 == 503
    })
    .await;
    assert_eq!(asked_with(&service, &known, Method::GET, ME).await.0, 200);
    assert_eq!(login(&service, "anna", PASSWORD).await.status(), 503);
    let (before, code) = ends.end().await;
    assert_eq!((&before.last().unwrap()["code"], code), (&json!("expired"), Some(1008)));
    goes_on.send(json!({"type": "ping"})).await;
    goes_on.until("pong").await;
}

/// A service whose sessions end after an hour without a use, and after three in any case; with the
/// clock that it sees.
async fn with_clock() -> (Service, FakeClock, jiff::Timestamp) {
    let now = jiff::Timestamp::now();
    let clock = FakeClock::at(now);
    let launch = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__SESSION_IDLE_MINUTES", "60")
        .env("FACILITY_SUMMARY__AUTH__SESSION_HOURS", "3")
        .env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", "1")
        .envs(clock.environment());
    let service = with_anna(launch, &["--role", "viewer"]).await;
    (service, clock, now)
}

/// Whether a session counts after a new start of the service at this time, which reads it anew.
async fn counts_at(
    service: Service,
    clock: &FakeClock,
    at: jiff::Timestamp,
    cookie: &str,
) -> (Service, bool) {
    let (_, launch) = service.terminate().await;
    clock.set(at);
    let service = launch.start().await;
    let (status, _) = asked_with(&service, cookie, Method::GET, ME).await;
    assert!([200, 401].contains(&status), "{status}");
    (service, status == 200)
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_goes_on_when_it_is() {
    let (service, clock, now) = with_clock().await;
    let (used, idle) = (session(&service, "anna").await, session(&service, "anna").await);
    let (service, counts) = counts_at(service, &clock, now + 50.minutes(), &used).await;
    assert!(counts);
    // The use is stored.
    wait_until("the use is stored", async || {
        let path = "/v1/auth/sessions";
        let (_, list) = asked_with(&service, &used, Method::GET, path).await;
        let mine = list["items"].as_array().unwrap().iter().find(|one| one["is_this"] == true);
        let at: jiff::Timestamp = mine.unwrap()["last_used_at"].as_str().unwrap().parse().unwrap();
        at > now + 40.minutes()
    })
    .await;
    let (service, counts) = counts_at(service, &clock, now + 100.minutes(), &used).await;
    assert!(counts, "it was used 50 minutes ago");
    let (status, _) = asked_with(&service, &idle, Method::GET, ME).await;
    assert_eq!(status, 401, "it was not used for 100 minutes");
}

#[tokio::test]
async fn a_session_ends_in_any_case() {
    let (service, clock, now) = with_clock().await;
    let cookie = session(&service, "anna").await;
    let mut service = service;
    let mut counts;
    for minutes in [50, 100, 150] {
        (service, counts) = counts_at(service, &clock, now + minutes.minutes(), &cookie).await;
        assert!(counts, "{minutes}");
        let stored = async || {
            let (_, list) = asked_with(&service, &cookie, Method::GET, "/v1/auth/sessions").await;
            let at = list["items"][0]["last_used_at"].as_str().unwrap().parse::<jiff::Timestamp>();
            at.unwrap() > now + (minutes - 5).minutes()
        };
        wait_until("the use is stored", stored).await;
    }
    (_, counts) = counts_at(service, &clock, now + 181.minutes(), &cookie).await;
    assert!(!counts, "after three hours");
}

/// A page that is only watched: neither what it is sent, nor that it connects anew, is a use.
#[tokio::test]
async fn a_session_that_is_only_watched_ends_when_it_is_idle_and_the_page_is_told() {
    let (service, clock, now) = with_clock().await;
    let cookie = session(&service, "anna").await;
    let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let (mut live, _) = Live::connect(&service, &headers).await;
    clock.set(now + 40.minutes());
    let mut beats = 0;
    while beats < 2 {
        let beat = live.until("heartbeat").await;
        let at: jiff::Timestamp = beat["now"].as_str().unwrap().parse().unwrap();
        beats += u32::from(at > now + 39.minutes());
    }
    let (again, _) = Live::connect(&service, &headers).await;
    drop(again);
    clock.set(now + 65.minutes());
    let ended = tokio::time::timeout(PATIENCE, live.end()).await;
    let (before, code) = ended.expect("it ends, whatever heartbeats come");
    assert_eq!((&before.last().unwrap()["code"], code), (&json!("expired"), Some(1008)));
    // In a message, a session says not from which page it comes.
    let fresh = session(&service, "anna").await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    let (_, text) = fresh.split_once('=').unwrap();
    live.send(json!({"type": "auth", "token": text})).await;
    let (before, code) = live.end().await;
    assert_eq!((&before.last().unwrap()["code"], code), (&json!("unauthorized"), Some(1008)));
}
