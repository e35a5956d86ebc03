//! Whole tables as text, to compare their content before and after.

use std::collections::BTreeMap;

use crate::support::plain_sql::{is_postgres, texts};

/// All rows of all tables as text, in a fixed order.
pub type Tables = BTreeMap<String, Vec<String>>;

/// All tables of the service.
pub async fn all(url: &str) -> Tables {
    let names = if is_postgres(url) {
        "SELECT CAST(table_name AS text) FROM information_schema.tables WHERE table_schema = \
         'facility_summary' AND table_type = 'BASE TABLE'"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    };
    of(url, &texts(url, names).await).await
}

/// The tables that an import writes: those that other programs write too, and the tombstones.
pub async fn sources(url: &str) -> Tables {
    let names = [
        "facilities",
        "blood_banks",
        "blood_inventory",
        "blood_distributions",
        "blood_requests",
        "tombstones",
    ];
    of(url, &names.map(str::to_owned)).await
}

/// The content of the summaries: facility, date, stock, deliveries and requests of each that is not
/// empty.
pub async fn figures(url: &str) -> Vec<String> {
    let figures = "SELECT concat_ws(' ', id(facility_id), CAST(date AS text), CAST(total_stock AS \
                   text), CAST(total_transferred AS text),
                          CAST(total_requests AS text), CAST(by_blood_type AS text))
                     FROM dashboard_daily_summary WHERE coalesce(total_stock, 0) + \
                   total_transferred + total_requests > 0 ORDER BY 1";
    texts(url, figures).await
}

async fn of(url: &str, names: &[String]) -> Tables {
    let mut tables = Tables::new();
    for name in names {
        let row = if is_postgres(url) {
            "CAST(t AS text)".to_owned()
        } else {
            let columns =
                texts(url, &format!("SELECT name FROM pragma_table_info('{name}')")).await;
            columns
                .iter()
                .map(|column| format!("quote({column})"))
                .collect::<Vec<_>>()
                .join(" || ',' || ")
        };
        tables.insert(
            name.clone(),
            texts(url, &format!("SELECT {row} FROM {name} t ORDER BY 1")).await,
        );
    }
    tables
}
