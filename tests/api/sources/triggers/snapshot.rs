//! Marks are resolved in the snapshot that shows them.

use std::{collections::BTreeSet, sync::Arc};

use facility_summary::{
    config::{DatabaseSettings, sources::SourcesSettings},
    store::{DrainSnapshot, Store, postgres::PostgresStore},
};
use uuid::Uuid;

use super::{super::MAPPING, adopt, mapped};
use crate::support::{outside::Outside, steps_proxy::StepsProxy, wait_until};

/// The round trip of a drain snapshot that resolves the marks, once its statements are prepared:
/// after BEGIN, and the look at the marks.
const RESOLVES: usize = 2;

/// The facility with this key.
async fn facility(store: &PostgresStore, key: &str) -> Uuid {
    let read = store.facilities(None).await.expect("they can be read");
    read.rows.iter().find(|row| row.key.as_deref() == Some(key)).expect("it is mapped").id
}

/// The facilities that the marks of mapped tables lead to, each mark's apart.
fn led_to(seen: &DrainSnapshot) -> Vec<BTreeSet<Option<Uuid>>> {
    let resolved = seen.noticed.resolved.values();
    resolved.map(|marks| marks.iter().map(|mark| mark.facility_id).collect()).collect()
}

/// A store that writes through a proxy what the mapping's triggers have noted so far: nothing.
async fn quiet_store() -> (Arc<PostgresStore>, StepsProxy, Outside) {
    let (launch, mut sql) = mapped(MAPPING).await;
    adopt(&launch, &["install"]).await;
    let (proxy, url) = StepsProxy::before(launch.database_url()).await;
    let settings = DatabaseSettings {
        url,
        min_connections: 0,
        max_connections: 4,
        ..DatabaseSettings::default()
    };
    let sources = SourcesSettings::parse(MAPPING, "the test").expect("it is a mapping");
    let store = PostgresStore::open(&settings, Some(&sources)).await.expect("it opens");
    store.facilities(None).await.expect("they can be read");
    sql.run("DELETE FROM facility_summary.summary_marks").await;
    for _ in 0..2 {
        let seen = store.drain_snapshot(100).await.expect("it is taken");
        assert_eq!(led_to(&seen), []);
    }
    (Arc::new(store), proxy, sql)
}

/// A bag comes into a store of hospital 1. The pass that sees its mark may prove everything up to
/// its own instant, so the mark has to lead to hospital 1, although the store moves to hospital 2
/// before the mark is resolved: the mark of the move is not among those of the pass.
#[tokio::test]
async fn a_mark_leads_to_where_its_row_was_in_the_snapshot_that_shows_the_mark() {
    let (store, proxy, mut sql) = quiet_store().await;
    let (first, other) = (facility(&store, "1").await, facility(&store, "2").await);
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    proxy.hold_at(RESOLVES);
    let taking = {
        let store = store.clone();
        tokio::spawn(async move { store.drain_snapshot(100).await })
    };
    wait_until("the marks are seen, and not resolved yet", async || proxy.is_held()).await;
    sql.run("UPDATE public.store SET hospital_id = 2 WHERE id = 1").await;
    proxy.release();
    let seen = taking.await.expect("it ends").expect("it is taken");
    assert_eq!(led_to(&seen), [BTreeSet::from([Some(first)])]);
    // The next one shows the move, with both ends.
    let seen = store.drain_snapshot(100).await.expect("it is taken");
    let all: BTreeSet<Option<Uuid>> = led_to(&seen).into_iter().flatten().collect();
    assert_eq!(all, BTreeSet::from([Some(first), Some(other)]));
}
