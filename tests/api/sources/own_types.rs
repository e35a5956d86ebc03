//! Types of the owner's in what is compared: labels of an enum under a domain, and keys that are
//! numbers with a fraction.

use super::{MAPPING, mapped, run};
use crate::{steps::get, support::wait_until};

#[tokio::test]
async fn a_new_label_of_an_enum_under_a_domain_is_named() {
    let mapping = MAPPING.replace("b.state IN", "b.state::text IN");
    let (launch, mut sql) = mapped(&format!("[sources]\ncompare_seconds = 1\n{mapping}")).await;
    sql.run(
        "CREATE DOMAIN public.state_of AS public.bag_state; ALTER TABLE public.bag ALTER state \
         DROP DEFAULT, ALTER state TYPE public.state_of",
    )
    .await;
    let service = launch.start().await;
    sql.run("ALTER TYPE public.bag_state ADD VALUE 'quarantined'").await;
    wait_until("it is said", async || {
        let ready = get(&service, "/health/ready").await;
        let all = ready["dependencies"].as_array().expect("a list").clone();
        let sources = all.iter().find(|one| one["name"] == "sources").expect("it is listed");
        let remedy = sources["remedy"].as_str().unwrap_or_default();
        remedy.contains("the type of public.bag.state, has the new label 'quarantined'")
    })
    .await;
    // A shape that an earlier release has stored lacks such labels, which is no change.
    run(service.launch(), &["adopt", "accept"]).await;
    let (_, launch) = service.terminate().await;
    sql.run(
        "UPDATE facility_summary.fleet SET shape = (SELECT jsonb_agg(jsonb_set(col, '{labels}', \
         '[]')) FROM jsonb_array_elements(shape) AS t (col))",
    )
    .await;
    let service = launch.start().await;
    let compared = |of: &serde_json::Value| {
        let all = of["dependencies"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["name"] == "sources").expect("it is listed")
    };
    assert_eq!(compared(&get(&service, "/health/ready").await)["state"], "up");
    let labels = "SELECT count(*) FROM facility_summary.fleet, jsonb_array_elements(shape) AS t \
                  (col) WHERE col -> 'labels' ? 'quarantined'";
    assert_eq!(sql.number(labels).await, 1);
}

/// A key of `2.50` is found for `2.5`, a query that fails hides no other, and null is no 0.
#[tokio::test]
async fn each_query_of_the_owner_is_compared_for_itself() {
    let query = |facility: &str, value: &str| {
        format!(
            "SELECT {facility} AS facility, (now() AT TIME ZONE 'UTC')::date AS date, 'stock' AS \
             figure, {value} AS value"
        )
    };
    let queries = [
        "SELECT 1/0 AS facility".to_owned(),
        query("2.500", "2"),
        query("'2.5'::text", "7"),
        query("2.5", "NULL::integer"),
    ];
    let checks: String =
        queries.iter().map(|sql| format!("[[sources.check]]\nsql = \"{sql}\"\n")).collect();
    let mapping = format!(
        "[sources.facilities]\nfrom = \"public.ward w\"\nkey = \"w.no\"\nname = \"'Ward'\"\n\
         timezone = \"'UTC'\"\n[[sources.stock]]\nfrom = \"public.unit u\"\nfacility = \
         \"u.ward\"\n{checks}"
    );
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run(
        "CREATE TABLE public.ward (no numeric(5,2) PRIMARY KEY); CREATE TABLE public.unit (ward \
         numeric(5,2)); INSERT INTO public.ward VALUES (2.5); INSERT INTO public.unit VALUES \
         (2.5), (2.5)",
    )
    .await;
    let service = launch.start().await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    for words in [
        " must give the columns facility, date, figure and value: ",
        "stock: the query says 7; the mapping says 2",
        "stock: the query says null; ",
        "3 figures compared with the queries of [[sources.check]], 2 differ.",
    ] {
        assert!(audited.output.contains(words), "{words:?} is not in {}", audited.output);
    }
}
