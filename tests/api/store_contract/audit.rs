//! The audit: it finds every row that differs from its sources, and tells known differences from
//! drift.

use facility_summary::{domain::summary::Key, store::Difference};

use super::{
    TestDb,
    setup::{DAY_MS, HOUR_MS, bank, clear_marks, delivery, facility, key, now_ms, refresh, stock},
};

pub async fn a_tampered_row_is_drift(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let bank = bank(db, &north).await;
    stock(db, bank, "'O+'", 5, "NULL").await;
    let now_ms = now_ms(db).await;
    let keys = [key(&north, now_ms, 0), key(&south, now_ms, 0), key(&north, now_ms, -1)];
    refresh(db, &keys).await;
    clear_marks(db).await;
    for tampering in [
        "total_stock = 6",
        "total_requests = 1",
        r#"by_blood_type = '{"O-":{"stock":5,"transferred":0,"requests":0}}'"#,
        r#"by_blood_type = '{"?":1}'"#,
    ] {
        db.plain(&format!(
            "UPDATE dashboard_daily_summary SET {tampering} WHERE facility_id = {}",
            db.id(north.id)
        ))
        .await;
        let found = db.store().audit(&keys).await.unwrap();
        let [
            Difference {
                facility_id,
                date,
                stored: Some(_),
                derived,
                explained: false,
                figures_differ: true,
                by_difference: false,
                at_ms,
                ..
            },
        ] = found[..]
        else {
            panic!("{tampering}: {found:?}");
        };
        assert_eq!(Key { facility_id, date }, keys[0].id());
        assert_eq!(derived, [Some(5), Some(0), Some(0)]);
        assert!(at_ms >= now_ms);
        assert_eq!(refresh(db, &keys).await.len(), 1, "{tampering}: a refresh repairs the row");
    }
    db.plain(&format!(
        "DELETE FROM dashboard_daily_summary WHERE facility_id = {}",
        db.id(south.id)
    ))
    .await;
    let found = db.store().audit(&keys).await.unwrap();
    assert!(matches!(found[..], [Difference { stored: None, explained: false, .. }]), "{found:?}");
}

pub async fn a_difference_under_a_visible_mark_or_a_due_expiry_is_explained(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let (first, second) = (bank(db, &north).await, bank(db, &south).await);
    let now_ms = now_ms(db).await;
    stock(db, first, "'O+'", 5, &db.at(now_ms + HOUR_MS)).await;
    stock(db, second, "'O+'", 5, &db.at(now_ms + DAY_MS)).await;
    let keys = [key(&north, now_ms, 0), key(&south, now_ms, 0)];
    refresh(db, &keys).await;
    clear_marks(db).await;

    // The row is as it would be an hour later: the expired unit is not in the stock any more, and
    // the row says that its refresh is due.
    let past = db.at(now_ms - 1);
    db.plain(&format!(
        "UPDATE dashboard_daily_summary SET next_expires_at = {past} WHERE facility_id = {}",
        db.id(north.id)
    ))
    .await;
    db.plain(&format!(
        "UPDATE blood_inventory SET expires_at = {past} WHERE blood_bank_id = {}",
        db.id(first)
    ))
    .await;
    clear_marks(db).await;
    let found = db.store().audit(&keys).await.unwrap();
    assert!(
        matches!(found[..], [Difference { explained: true, derived: [Some(0), ..], .. }]),
        "{found:?}"
    );
    refresh(db, &keys).await;

    delivery(db, &south, 2, now_ms).await;
    let found = db.store().audit(&keys).await.unwrap();
    assert!(
        matches!(found[..], [Difference { explained: true, derived: [_, Some(2), _], .. }]),
        "{found:?}"
    );
    clear_marks(db).await;
    let found = db.store().audit(&keys).await.unwrap();
    assert!(
        matches!(found[..], [Difference { explained: false, .. }]),
        "without the mark, nothing explains the difference: {found:?}"
    );
    db.plain("INSERT INTO summary_marks (kind) VALUES ('stock')").await;
    let found = db.store().audit(&keys).await.unwrap();
    assert!(
        matches!(found[..], [Difference { explained: true, .. }]),
        "a mark of all facilities explains the difference: {found:?}"
    );
}

pub async fn an_exact_table_has_no_differences(db: &dyn TestDb) {
    let north = facility(db, "Pacific/Kiritimati").await;
    let now_ms = now_ms(db).await;
    delivery(db, &north, 3, now_ms).await;
    delivery(db, &north, 3, key(&north, now_ms, -1).day.start_ms).await;
    let keys = [key(&north, now_ms, 0), key(&north, now_ms, -1), key(&north, now_ms, -2)];
    assert_eq!(refresh(db, &keys).await.len(), 2);
    assert!(db.store().audit(&keys).await.unwrap().is_empty());
    assert!(db.store().audit(&[]).await.unwrap().is_empty());
}
