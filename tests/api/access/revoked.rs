//! What was revoked ends on every replica, whatever else happens.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::{added, asked, get_as};
use crate::support::{Service, redis::Redis, service::Launch, wait_until};

pub const WITHIN: Duration = Duration::from_secs(2);

pub async fn replicas(launch: Launch, admin: &str) -> (Vec<Service>, Redis) {
    let redis = Redis::start();
    let launch = launch.env("REDIS_URL", redis.url()).credential(admin);
    let mut replicas = vec![launch.clone().start().await];
    for _ in 1..3 {
        replicas.push(launch.clone().start().await);
    }
    (replicas, redis)
}

#[tokio::test]
async fn a_revoked_key_ends_on_every_replica_within_two_seconds_and_the_others_go_on() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let other = added(&launch, &["--role", "viewer", "--all-facilities", "--name", "other"]).await;
    let (replicas, _redis) = replicas(launch, &admin).await;
    for round in 0..5 {
        let key = super::key_of(&replicas[round % 3], "viewer", &[]).await;
        for replica in &replicas {
            // Also at once after it was made elsewhere.
            assert_eq!(get_as(replica, &key, "/v1/facilities").await.0, 200);
        }
        let id = key.split('_').nth(1).unwrap();
        let path = format!("/v1/api-keys/{id}");
        let at = &replicas[(round + 1) % 3];
        assert_eq!(asked(at, Some(&admin), Method::DELETE, &path).await.status(), 204);
        let began = Instant::now();
        assert_eq!(
            get_as(at, &key, "/v1/facilities").await.0,
            401,
            "where it was revoked: at once"
        );
        for replica in &replicas {
            wait_until("the key has ended", async || {
                get_as(replica, &key, "/v1/facilities").await.0 == 401
            })
            .await;
            assert_eq!(get_as(replica, &other, "/v1/facilities").await.0, 200);
        }
        assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
        for _ in 0..20 {
            for replica in &replicas {
                assert_eq!(get_as(replica, &key, "/v1/facilities").await.0, 401);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_used_all_the_time_ends_all_the_same() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    for _ in 0..10 {
        let key = super::key_of(&service, "viewer", &[]).await;
        let using = async {
            let mut refused = 0;
            while refused < 50 {
                match get_as(&service, &key, "/v1/facilities").await.0 {
                    401 => refused += 1,
                    200 => assert_eq!(refused, 0, "it came back"),
                    other => panic!("{other}"),
                }
            }
        };
        let revoking = async {
            let id = key.split('_').nth(1).unwrap();
            let revoked = service.launch().run(&["key", "revoke", id]).await;
            assert_eq!(revoked.code, Some(0), "{}", revoked.output);
        };
        tokio::join!(using, revoking);
    }
}

#[tokio::test]
async fn while_the_database_is_away_known_keys_go_on_and_unknown_ones_get_503() {
    let postgres = crate::support::postgres::Postgres::start(&[]);
    let launch =
        Service::on(postgres.fresh_database().await).env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let unused =
        added(&launch, &["--role", "viewer", "--all-facilities", "--name", "not used yet"]).await;
    let service = launch.credential(&admin).start().await;
    let path = "/v1/auth/me";
    assert_eq!(get_as(&service, &admin, path).await.0, 200);
    let unknown = format!("fs_{}_{}", "0".repeat(12), "A".repeat(43));
    assert_eq!(get_as(&service, &unknown, path).await.0, 401);
    postgres.crash();
    wait_until("an unknown key gets 503", async || get_as(&service, &unknown, path).await.0 == 503)
        .await;
    for key in [&admin, &unused] {
        assert_eq!(get_as(&service, key, path).await.0, 200);
    }
    let other = format!("{}A", &unused[..unused.len() - 1]);
    let other = if other == unused { format!("{}B", &unused[..unused.len() - 1]) } else { other };
    assert_eq!(get_as(&service, &other, path).await.0, 401, "its id is known, its secret is not");
}

/// The number of changes is the same as before the restore, and so are the ends of sessions.
#[tokio::test]
async fn after_a_backup_was_restored_only_keys_that_it_has_count() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let revoked =
        added(&launch, &["--role", "viewer", "--all-facilities", "--name", "revoked"]).await;
    let service = launch.credential(&admin).start().await;
    let file = crate::restores::sqlite(service.database_url()).to_owned();
    let backup = file.with_extension("bak");
    crate::restores::shell(&file, &format!(".backup '{}'", backup.display()));
    let lost = super::key_of(&service, "viewer", &[]).await;
    for key in [&revoked, &lost] {
        assert_eq!(get_as(&service, key, "/v1/facilities").await.0, 200);
    }
    // Both within one look of the service.
    let id = revoked.split('_').nth(1).unwrap();
    let restore = format!(".restore '{}'", backup.display());
    let revoke = format!(
        "UPDATE api_keys SET revoked_ms = 1, revoked_by = 'x' WHERE id = '{id}'; UPDATE fleet SET \
         access_version = access_version + 1, \
         access_marks = lower(hex(randomblob(8))) || access_marks;"
    );
    crate::restores::shell_all(&file, &[&restore, &revoke]);
    for key in [&revoked, &lost] {
        wait_until("it has ended", async || get_as(&service, key, "/v1/facilities").await.0 == 401)
            .await;
    }
    assert_eq!(get_as(&service, &admin, "/v1/facilities").await.0, 200);
}
