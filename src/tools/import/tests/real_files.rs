//! The real files, if they are present.

use super::{DEMAND, STOCK, SUPPLY, import, real};
use crate::{
    domain::{blood_type::BloodType, event::EntityKind},
    tools::import::recorder::Recorder,
};

#[tokio::test]
async fn the_real_blood_banks_of_india() {
    let Some((_folder, file)) = real("blood_banks_india.csv") else { return };
    let target = Recorder::default();
    for changed in [2_140, 0] {
        let report = import(&target, "facilities", &file, "--columns name=name").await.unwrap();
        assert_eq!(
            (report.rows_read, report.rows_written, report.changed),
            (2_174, 2_174, changed)
        );
    }
    assert!(
        target
            .facility_rows()
            .iter()
            .any(|row| row.name == "Sri Guru Harkrishan\u{a0}Sahib Charitable Eye Hospital-Sohana")
    );
}

#[tokio::test]
async fn the_real_stocks_of_poland() {
    let Some((_folder, file)) = real("blood_stock_poland.csv") else { return };
    let target = Recorder::default();
    for (changed, registered) in [(21 * 84 + 21, 21), (0, 0)] {
        let report = import(&target, "stock-history", &file, STOCK).await.unwrap();
        assert_eq!(
            (report.rows_written, report.facilities_registered, report.changed),
            (14_112, registered, changed)
        );
    }
    assert_eq!(target.stock.lock().unwrap().len(), 21 * 84);
    assert!(target.stock.lock().unwrap().values().all(|types| types.len() == 8));
    assert_eq!(target.stock_of("Zielona Góra", "2023-01-06")[&BloodType::AbNegative], 5);
}

#[tokio::test]
async fn the_real_demand_and_supply_of_tema() {
    let Some((_folder, file)) = real("blood_demand_tema_ghana.csv") else { return };
    let target = Recorder::default();
    let requests = import(&target, "requests", &file, DEMAND).await.unwrap();
    assert_eq!(
        (
            requests.rows_written,
            target.units(EntityKind::Request).iter().filter(|(_, units)| units.is_none()).count()
        ),
        (93, 13)
    );
    let stopped = import(&target, "distributions", &file, SUPPLY).await.unwrap_err().to_string();
    assert!(stopped.contains("line 12, column \"QTY_SUPPLIED\": \"\" is empty"), "{stopped}");
    let supplied = import(&target, "distributions", &file, &format!("{SUPPLY} --on-error skip"))
        .await
        .unwrap();
    assert_eq!((supplied.rows_written, supplied.rows_skipped), (84, 9));
}
