//! Writes that are noticed elsewhere than where they are shown: by another replica, and by the
//! triggers of a database that a logical subscription fills.

use super::{MARKS, adopt, agrees, is_noticed, only_marks, own, shows};
use crate::{
    sources::{HOSPITAL, MAPPING, mapped, with_key},
    steps::{Scrape, get},
    support::{
        Service, outside::Outside, postgres::Postgres, redis::Redis, service::Launch, wait_until,
    },
};

/// Single rows, moves, many rows and TRUNCATE.
const WRITES: [(&str, &str); 8] = [
    ("an insert", "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')"),
    ("a move of units", "UPDATE public.bag SET store_id = 3 WHERE store_id = 1"),
    ("a move of a store", "UPDATE public.store SET hospital_id = 1 WHERE id = 3"),
    ("a new status", "UPDATE public.bag SET state = 'issued' WHERE abo = 'AB'"),
    (
        "deliveries",
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") SELECT \
         'delivery', 1 + n % 2, 'A+', 2, now() AT TIME ZONE 'Africa/Accra' FROM generate_series(1, \
         300) AS n",
    ),
    ("another time", "UPDATE public.movement SET \"At\" = \"At\" - interval '40 days'"),
    ("a delete", "DELETE FROM public.bag WHERE store_id = 3"),
    ("TRUNCATE", "TRUNCATE public.movement"),
];

/// Replicas on one Redis and on the hospital's database with triggers.
async fn fleet(count: usize) -> (Vec<Service>, Outside, Redis) {
    let redis = Redis::start();
    let (launch, sql) = mapped(MAPPING).await;
    adopt(&launch, &["install"]).await;
    let launch = only_marks(launch).env("REDIS_URL", redis.url());
    let mut replicas = Vec::new();
    for _ in 0..count {
        replicas.push(launch.clone().start().await);
    }
    for replica in &replicas {
        is_noticed(replica).await;
    }
    (replicas, sql, redis)
}

#[tokio::test]
async fn what_one_replica_notices_shows_on_every_other() {
    let (mut replicas, mut sql, _redis) = fleet(3).await;
    for (what, statement) in WRITES {
        // Each memory holds the figures, so that only a change moves them.
        for replica in &replicas {
            agrees(replica, &mut sql, "what was before").await;
        }
        sql.run(statement).await;
        for replica in &replicas {
            agrees(replica, &mut sql, what).await;
        }
    }
    // The first one leads. What it was about to process is left to the others.
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    drop(replicas.remove(0).kill_9().await);
    sql.run(
        "INSERT INTO public.hospital VALUES (7, 'Seventh', NULL); UPDATE public.store SET \
         hospital_id = 7 WHERE id = 4; INSERT INTO public.bag (store_id, abo, rh) VALUES (4, 'O', \
         '+')",
    )
    .await;
    for replica in &replicas {
        agrees(replica, &mut sql, "the end of a replica").await;
        wait_until("it is mapped", async || with_key(replica, "7").await.is_some()).await;
        shows(replica, "7", &[1, 0, 0], "its registration").await;
    }
}

/// Replicas that drain at the same time move the same rows, and none is lost.
#[tokio::test]
async fn replicas_that_drain_at_the_same_time_lose_nothing() {
    let (replicas, mut sql, _redis) = fleet(3).await;
    let mut writers = Vec::new();
    for store in [1, 2, 3] {
        let mut writer = Outside::connect(replicas[0].database_url()).await;
        writers.push(async move {
            for _ in 0..400 {
                writer
                    .run(format!(
                        "INSERT INTO public.bag (store_id, abo, rh) VALUES ({store}, 'O', '+'); \
                         DELETE FROM public.bag WHERE \"No\" = (SELECT min(\"No\") FROM public.bag \
                         WHERE store_id = {store})"
                    ))
                    .await;
            }
        });
    }
    futures_util::future::join_all(writers).await;
    for replica in &replicas {
        agrees(replica, &mut sql, "many single writes").await;
        let errors = replica.logged(
            "the job failed; it is tried again at each run, and will say so when it works again",
        );
        assert!(errors.is_empty(), "{errors:?}");
    }
    wait_until("no mark is left", async || sql.number(MARKS).await == 0).await;
}

/// The same tables in another server, which are published, and in a service's database, which
/// subscribes to them, with triggers.
async fn subscribed(publisher: &Postgres) -> (Launch, Outside, Outside) {
    let url = publisher.fresh_database().await;
    let mut from = Outside::connect(&url).await;
    from.run(HOSPITAL).await;
    from.run("CREATE PUBLICATION hospital FOR ALL TABLES").await;
    let (launch, mut to) = mapped(&format!("[sources]\ncompare_seconds = 1\n{MAPPING}")).await;
    to.run("TRUNCATE public.hospital, public.store, public.bag, public.movement").await;
    adopt(&launch, &["install"]).await;
    let launch = only_marks(launch);
    to.run(format!(
        "CREATE SUBSCRIPTION hospital CONNECTION '{url}' PUBLICATION hospital WITH (slot_name = \
         'hospital')"
    ))
    .await;
    (launch, from, to)
}

/// Waits until the answers are what the owner's own query says in the server that publishes.
async fn agrees_with(service: &Service, from: &mut Outside, what: &str) {
    for key in [1, 2] {
        let mut figures = Vec::new();
        for query in own(key) {
            figures.push(from.number(query).await);
        }
        shows(service, &key.to_string(), &figures, what).await;
    }
}

/// Waits until `/health/ready` says so of the subscription.
async fn says_of_the_subscription(service: &Service, words: &str) {
    let said = format!("the subscription hospital fills mapped tables, and {words}");
    wait_until(&format!("readiness says that it {words}"), async || {
        let ready = get(service, "/health/ready").await;
        let all = ready["dependencies"].as_array().expect("a list");
        all.iter().any(|one| one["name"] == "sources" && one["limits"].to_string().contains(&said))
    })
    .await;
}

#[tokio::test]
async fn what_a_subscription_copies_and_applies_to_mapped_tables_shows() {
    let publisher = Postgres::start(&["wal_level=logical"]);
    let (launch, mut from, mut to) = subscribed(&publisher).await;
    let service = launch.start().await;
    wait_until("what was copied at the beginning is mapped", async || {
        with_key(&service, "1").await.is_some() && with_key(&service, "2").await.is_some()
    })
    .await;
    is_noticed(&service).await;
    agrees_with(&service, &mut from, "the copy at the beginning").await;
    for (what, statement) in WRITES {
        from.run(statement).await;
        agrees_with(&service, &mut from, what).await;
    }
    from.run("UPDATE public.hospital SET title = 'Ridge' WHERE id = 1").await;
    wait_until("it has its new name", async || {
        with_key(&service, "1").await.is_some_and(|facility| facility["name"] == "Ridge")
    })
    .await;
    let drift = Scrape::of(&service).await.sum("summary_drift_rows_total", &[]);
    assert_eq!(drift, 0.0);
    // How far it is behind is not in the age, and that is said.
    says_of_the_subscription(&service, "was last heard of ").await;
    assert!(Scrape::of(&service).await.sum("source_lag_seconds", &[]) >= 0.0);
    to.run("ALTER SUBSCRIPTION hospital DISABLE").await;
    says_of_the_subscription(&service, "does not run").await;
    to.run("DROP SUBSCRIPTION hospital").await;
}
