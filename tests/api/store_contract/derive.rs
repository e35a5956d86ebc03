//! The refresh, case by case: what counts, what is kept, what is to be written.

use std::sync::Arc;

use facility_summary::domain::{
    blood_type::BloodType,
    day::Day,
    facility::{Facility, Zone},
    summary::{DayKey, Figures, Summary},
};
use uuid::Uuid;

use super::{
    TestDb,
    setup::{
        DAY_MS, HOUR_MS, bank, delivery, derive, derive_one, facility, key, now_ms, refresh,
        request, stock, stored,
    },
};

fn figures(stock: Option<i64>, transferred: i64, requests: i64) -> Figures {
    Figures { stock, transferred, requests }
}

fn totals(summary: &Summary) -> (Option<i64>, i64, i64) {
    (summary.total_stock, summary.total_transferred, summary.total_requests)
}

pub async fn todays_stock_leaves_out_what_has_expired(db: &dyn TestDb) {
    let north = facility(db, "Asia/Kathmandu").await;
    let (first, second) = (bank(db, &north).await, bank(db, &north).await);
    let now_ms = now_ms(db).await;
    stock(db, first, "'O+'", 100, &db.at(now_ms - 1)).await;
    stock(db, first, "'O+'", 5, &db.at(now_ms + HOUR_MS)).await;
    stock(db, second, "'O+'", 7, "NULL").await;
    stock(db, second, "NULL", 2, &db.at(now_ms + 2 * HOUR_MS)).await;
    // The expiry of a unit with the quantity 0 changes no figure.
    stock(db, second, "'B-'", 0, &db.at(now_ms + HOUR_MS / 2)).await;
    let today = derive_one(db, &key(&north, now_ms, 0)).await;
    assert!(today.is_today && !today.stored && today.figures_differ && today.write_needed);
    assert_eq!(today.timezone, "Asia/Kathmandu");
    assert_eq!(totals(&today.row.summary), (Some(14), 0, 0));
    let types = [
        (BloodType::OPositive, figures(Some(12), 0, 0)),
        (BloodType::Unknown, figures(Some(2), 0, 0)),
    ];
    assert_eq!(today.row.summary.by_blood_type, types.into());
    assert_eq!(today.row.next_expires_at_ms, Some(now_ms + HOUR_MS));
    assert!(today.row.as_of_ms >= now_ms);
    assert_eq!((today.row.summary.version, today.row.summary.updated_at), (0, None));
}

pub async fn a_day_that_has_not_begun_is_derived_if_the_former_zone_left_a_row(db: &dyn TestDb) {
    let north = facility(db, "Pacific/Kiritimati").await;
    let now_ms = now_ms(db).await;
    let today = key(&north, now_ms, 0);
    assert!(!derive_one(db, &today).await.day_differs, "without a row, no other day is stored");
    refresh(db, std::slice::from_ref(&today)).await;
    assert!(!derive_one(db, &today).await.day_differs, "the row is of that day");
    // This zone is 25 hours behind: that date has not begun there.
    let zone = Arc::new(Zone::named("Pacific/Niue").unwrap());
    let of_date = |date| DayKey {
        day: Day::named(&zone.tz, date).unwrap(),
        facility: Arc::new(Facility { zone: zone.clone(), ..(*north).clone() }),
    };
    let left = derive_one(db, &of_date(today.day.date)).await;
    assert!(left.stored && left.day_differs && left.write_needed && !left.is_today);
    assert!(
        derive(db, &[of_date(today.day.date.tomorrow().unwrap())]).await.is_empty(),
        "a day that has not begun and has no row is left out"
    );
}

pub async fn a_closed_day_keeps_the_stock_it_closed_with(db: &dyn TestDb) {
    let north = facility(db, "America/St_Johns").await;
    let bank = bank(db, &north).await;
    let now_ms = now_ms(db).await;
    let yesterday = key(&north, now_ms, -1);
    stored(
        db,
        &north,
        yesterday.day.date,
        "50",
        "{\"O+\":{\"stock\":48,\"transferred\":0,\"requests\":0},\
         \"B+\":{\"stock\":2,\"transferred\":0,\"requests\":0}}",
    )
    .await;
    stock(db, bank, "'O+'", 999, &db.at(now_ms + HOUR_MS)).await;
    let quiet = derive_one(db, &yesterday).await;
    assert!(quiet.stored && !quiet.is_today && !quiet.figures_differ);
    assert!(quiet.write_needed, "a row of the last release has no bounds, so it is written");
    assert_eq!((quiet.row.summary.version, quiet.row.summary.updated_at), (3, Some(1_000)));
    assert_eq!(quiet.row.next_expires_at_ms, None);

    delivery(db, &north, 6, yesterday.day.start_ms).await;
    delivery(db, &north, 60, yesterday.day.end_ms).await;
    request(db, &north, yesterday.day.end_ms - 1).await;
    let corrected = derive_one(db, &yesterday).await;
    assert!(corrected.figures_differ && corrected.write_needed);
    assert_eq!(totals(&corrected.row.summary), (Some(50), 6, 1));
    let types = [
        (BloodType::OPositive, figures(Some(48), 6, 0)),
        (BloodType::ANegative, figures(Some(0), 0, 1)),
        (BloodType::BPositive, figures(Some(2), 0, 0)),
    ];
    assert_eq!(corrected.row.summary.by_blood_type, types.into());
}

pub async fn a_closed_day_without_recorded_stock_stays_without_stock(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let now_ms = now_ms(db).await;
    stock(db, bank, "'O+'", 999, "NULL").await;
    let keys = [key(&north, now_ms, -1), key(&north, now_ms, -2)];
    for key in &keys {
        delivery(db, &north, 6, key.day.start_ms + HOUR_MS).await;
    }
    stored(db, &north, keys[1].day.date, "NULL", "{}").await;
    for key in &keys {
        let day = derive_one(db, key).await;
        assert!(day.figures_differ);
        assert_eq!(totals(&day.row.summary), (None, 6, 0));
        assert_eq!(
            day.row.summary.by_blood_type,
            [(BloodType::OPositive, figures(None, 6, 0))].into()
        );
    }
}

pub async fn days_that_have_not_begun_and_unknown_facilities_are_left_out(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let nobody = Arc::new(Facility {
        id: Uuid::new_v4(),
        key: None,
        name: String::new(),
        zone: Arc::new(Zone::named("UTC").unwrap()),
    });
    let now_ms = now_ms(db).await;
    let today = key(&north, now_ms, 0);
    let derived =
        derive(db, &[key(&north, now_ms, 1), today.clone(), key(&nobody, now_ms, 0)]).await;
    let keys: Vec<_> = derived.iter().map(|d| d.row.key()).collect();
    assert_eq!(keys, [today.id()]);
    assert!(derive(db, &[]).await.is_empty());
}

pub async fn types_without_a_figure_are_left_out(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    stock(db, bank, "'AB-'", 0, "NULL").await;
    let today = derive_one(db, &key(&north, now_ms(db).await, 0)).await;
    assert_eq!(totals(&today.row.summary), (Some(0), 0, 0));
    assert_eq!(today.row.summary.by_blood_type, [].into());
}

pub async fn a_quiet_today_is_opened_and_a_quiet_past_is_not(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let now_ms = now_ms(db).await;
    let today = derive_one(db, &key(&north, now_ms, 0)).await;
    assert!(today.figures_differ && today.write_needed);
    let past = derive_one(db, &key(&north, now_ms, -3)).await;
    assert!(!past.figures_differ && !past.write_needed);
    assert_eq!(totals(&past.row.summary), (None, 0, 0));
}

pub async fn only_a_later_expiry_asks_for_a_write_without_a_change_of_figures(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let now_ms = now_ms(db).await;
    let today = [key(&north, now_ms, 0)];
    let unit = stock(db, bank, "'O+'", 5, &db.at(now_ms + DAY_MS)).await;
    refresh(db, &today).await;
    db.plain(&format!(
        "UPDATE blood_inventory SET expires_at = {} WHERE id = {}",
        db.at(now_ms + 2 * DAY_MS),
        db.id(unit)
    ))
    .await;
    let derived = derive_one(db, &today[0]).await;
    assert!(derived.write_needed && !derived.figures_differ);
    let written = refresh(db, &today).await;
    assert_eq!(
        (written[0].summary.version, written[0].next_expires_at_ms),
        (1, Some(now_ms + 2 * DAY_MS))
    );
    assert!(refresh(db, &today).await.is_empty());
}

pub async fn expired_figures_are_due_soonest_first(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let now_ms = now_ms(db).await;
    for (facility, hours) in [(&north, 3), (&south, 2)] {
        let bank = bank(db, facility).await;
        stock(db, bank, "'O+'", 5, &db.at(now_ms + hours * HOUR_MS)).await;
    }
    let keys = [key(&north, now_ms, 0), key(&south, now_ms, 0)];
    refresh(db, &keys).await;
    let store = db.store();
    assert_eq!(
        store.expiring(now_ms + 3 * HOUR_MS, 10).await.unwrap(),
        [keys[1].id(), keys[0].id()]
    );
    assert_eq!(store.expiring(now_ms + 3 * HOUR_MS, 1).await.unwrap(), [keys[1].id()]);
    assert_eq!(store.expiring(now_ms + 2 * HOUR_MS - 1, 10).await.unwrap(), []);
    assert!(!store.drain_snapshot(1).await.unwrap().expiry_due);
    db.plain(&format!(
        "UPDATE dashboard_daily_summary SET next_expires_at = {} WHERE facility_id = {}",
        db.at(now_ms),
        db.id(north.id)
    ))
    .await;
    assert!(store.drain_snapshot(1).await.unwrap().expiry_due);
}
