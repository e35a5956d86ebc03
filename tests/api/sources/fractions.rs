//! Quantities with fractions of a unit: figures are whole units, and whatever is lost by that is
//! said.

use serde_json::json;

use super::{
    MAPPING, mapped, now,
    odd_figures::{LEDGER, YESTERDAY, beside, ledger, yesterday},
    run,
};
use crate::steps::get;

/// Of each of four types half a unit, in two rows: 2 units in all, and not 0 or 4.
const HALVES: &str = "(1, 'O+', 0.25), (1, 'O+', 0.25), (1, 'A-', 0.25), (1, 'A-', 0.25), (1, \
                      'B+', 0.25), (1, 'B+', 0.25), (1, 'AB-', 0.25), (1, 'AB-', 0.25)";

#[tokio::test]
async fn all_rows_of_a_figure_are_added_up_before_the_sum_is_rounded_once() {
    let (service, mut sql) = beside(HALVES).await;
    let ridge = now(&service, "1").await;
    assert_eq!(ridge["total_stock"], 2, "{ridge}");
    for of_type in ["O+", "A-", "B+", "AB-"] {
        assert_eq!(ridge["by_blood_type"][of_type]["stock"], 1, "{of_type}: {ridge}");
    }
    assert_eq!(get(&service, "/v1/summaries/today").await["totals"]["total_stock"], 2);
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(0), "{}", audited.output);
    assert!(audited.output.contains(" 0 rows differ"), "{}", audited.output);
    // The day closes with the total that it showed.
    let (_, launch) = service.terminate().await;
    sql.run(YESTERDAY).await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") VALUES \
         ('delivery', 1, 'O+', 3, (now() AT TIME ZONE 'Africa/Accra')::date - interval '1 hour')",
    )
    .await;
    let service = launch.start().await;
    let closed = yesterday(&service, "1").await;
    assert_eq!((&closed["total_stock"], &closed["total_transferred"]), (&json!(2), &json!(3)));
}

/// Two lists of one figure: neither is rounded by itself.
#[tokio::test]
async fn lists_of_one_figure_are_added_up_before_the_sum_is_rounded() {
    let twice = ledger();
    let begin = twice.find("[[sources.stock]]").expect("it has stock");
    let end = twice.find("[[sources.deliveries]]").expect("it has deliveries");
    let list = &twice[begin..end];
    let (launch, mut sql) = mapped(&twice.replace(list, &list.repeat(2))).await;
    sql.run(format!("{LEDGER}; INSERT INTO public.ledger VALUES (1, 'O+', 1.25)")).await;
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(ridge["total_stock"], 3, "{ridge}");
    assert_eq!(ridge["by_blood_type"]["O+"]["stock"], 3, "{ridge}");
}

#[tokio::test]
async fn a_check_says_how_many_rows_have_a_fraction_with_an_example() {
    let (launch, mut sql) = mapped(&ledger()).await;
    let rows = "(1, 'O+', 1.5), (1, 'O+', 2), (2, 'A-', 3.75), (99, 'A-', 0.5), (1, 'O+', NULL)";
    sql.run(format!("{LEDGER}; INSERT INTO public.ledger VALUES {rows}")).await;
    let said = run(&launch, &["adopt", "check"]).await.output;
    let line = "  2 rows with a fraction of a unit, such as 1.5: figures are whole units; the rows \
                of a figure are added up, and the sum is rounded once, half a unit away from 0";
    assert!(said.lines().any(|shown| shown == line), "{said}");
    assert!(said.contains("  today 7.25\n"), "{said}");
    let (launch, _) = mapped(MAPPING).await;
    let said = run(&launch, &["adopt", "check"]).await.output;
    assert!(!said.contains("fraction"), "{said}");
}

#[tokio::test]
async fn a_query_of_the_owner_is_compared_as_it_is_and_a_fraction_is_named() {
    let query = "SELECT hospital AS facility, (now() AT TIME ZONE 'Africa/Accra')::date AS date, \
                 'stock' AS figure, sum(units) AS value FROM public.ledger GROUP BY 1";
    let rounded = query.replace("sum(units)", "round(sum(units)::numeric)");
    let checks = [query, &rounded].map(|sql| format!("\n[[sources.check]]\nsql = \"{sql}\"\n"));
    let (launch, mut sql) = mapped(&format!("{}{}", ledger(), checks.concat())).await;
    let rows = "(1, 'O+', 1.25), (1, 'A-', 1.25), (2, 'O+', 4)";
    sql.run(format!("{LEDGER}; INSERT INTO public.ledger VALUES {rows}")).await;
    let audited = run(&launch, &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    for words in [
        "stock: the query says 2.5; the mapping says 3, as figures are whole units",
        "4 figures compared with the queries of [[sources.check]], 1 differ.",
    ] {
        assert!(audited.output.contains(words), "{words:?} is not in: {}", audited.output);
    }
}

/// A figure without a list is not 0.
#[tokio::test]
async fn an_audit_says_no_list_of_a_figure_without_one() {
    let end = MAPPING.find("[[sources.deliveries]]").expect("it has deliveries");
    let query = "SELECT 1 AS facility, (now() AT TIME ZONE 'Africa/Accra')::date AS date, \
                 'deliveries' AS figure, 0 AS value";
    let mapping = format!("{}[[sources.check]]\nsql = \"{query}\"\n", &MAPPING[..end]);
    let (launch, mut sql) = mapped(&mapping).await;
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    now(&service, "1").await;
    let (_, launch) = service.terminate().await;
    sql.run("UPDATE public.bag SET state = 'issued'").await;
    let audited = run(&launch, &["audit"]).await;
    for words in [
        "stored 3, no list, no list; sources say 0, no list, no list (stock, transferred, \
         requests)",
        "deliveries: the query says 0; the mapping has no list of it",
    ] {
        assert!(audited.output.contains(words), "{words:?} is not in: {}", audited.output);
    }
}
