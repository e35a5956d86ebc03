//! The owner's own queries are compared with the figures: differences are listed and counted.

use super::{MAPPING, mapped, now, run};
use crate::{steps::Scrape, support::wait_until};

const RIGHT: &str = "SELECT s.hospital_id AS facility, (now() AT TIME ZONE 'Africa/Accra')::date \
                     AS date, 'stock' AS figure, count(*) AS value FROM public.bag b JOIN \
                     public.store s ON s.id = b.store_id WHERE s.hospital_id < 3 AND b.state IN \
                     ('available', 'reserved') AND (b.expiry IS NULL OR b.expiry >= (now() AT \
                     TIME ZONE 'Africa/Accra')::date) GROUP BY 1";
const OF_DELIVERIES: &str = "SELECT m.hospital_id AS facility, m.\"At\"::date AS date, \
                             'deliveries' AS figure, sum(m.units) AS value FROM public.movement m \
                             WHERE m.kind = 'delivery' GROUP BY 1, 2;";

fn with(queries: &[&str]) -> String {
    let checks = queries.iter().map(|sql| format!("\n[[sources.check]]\nsql = '''{sql}'''\n"));
    format!("{MAPPING}{}", checks.collect::<String>())
}

#[tokio::test]
async fn queries_that_agree_are_compared_in_one_snapshot() {
    let (launch, _) = mapped(&with(&[RIGHT, OF_DELIVERIES])).await;
    let service = launch.start().await;
    now(&service, "1").await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(0), "{}", audited.output);
    let said = "4 figures compared with the queries of [[sources.check]], 0 differ.";
    assert!(audited.output.contains(said), "{}", audited.output);
}

#[tokio::test]
async fn what_differs_is_listed_counted_and_not_written() {
    let all = RIGHT.replace("'available', 'reserved'", "'available', 'reserved', 'issued'");
    let unknown = "SELECT 99 AS facility, current_date AS date, 'stock' AS figure, 1 AS value";
    let odd = "SELECT 1 AS facility, current_date AS date, 'bags' AS figure, 1 AS value";
    let (launch, _) = mapped(&with(&[&all, unknown, odd])).await;
    let service = launch.start().await;
    let stock = now(&service, "1").await["total_stock"].clone();
    wait_until("the replica that leads has compared", async || {
        Scrape::of(&service).await.sum("source_check_differences", &[]) == 3.0
    })
    .await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    for words in [
        "sources.check[0]: facility 1, ",
        "stock: the query says 4; the mapping says 3",
        "sources.check[1]: facility 99, ",
        "no such facility is mapped",
        "the figure must be stock, deliveries or requests",
        "4 figures compared with the queries of [[sources.check]], 3 differ.",
    ] {
        assert!(audited.output.contains(words), "{words:?} is not in {}", audited.output);
    }
    assert_eq!(now(&service, "1").await["total_stock"], stock);
}

#[tokio::test]
async fn a_query_that_is_wrong_is_named() {
    let (launch, _) = mapped(&with(&[
        "SELECT 1 AS hospital",
        "SELECT 1 / 0 AS facility, current_date AS date, 'stock' AS figure, 1 AS value",
    ]))
    .await;
    let service = launch.start().await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    assert!(
        audited.output.contains("sources.check[0].sql (line 38 of file ")
            && audited.output.contains("must give the columns facility, date, figure and value: ")
            && audited.output.contains("fails on a row: division by zero"),
        "{}",
        audited.output
    );
}

#[tokio::test]
async fn a_query_that_meets_a_lock_is_named_as_such_and_holds_nobody_up() {
    let one = "SELECT 1 AS facility, current_date AS date, 'stock' AS figure, n AS value FROM \
               public.counted";
    let (launch, mut owner) = mapped(&with(&[one, OF_DELIVERIES])).await;
    owner.run("CREATE TABLE public.counted (n int)").await;
    let service = launch.start().await;
    now(&service, "1").await;
    owner.run("BEGIN; LOCK TABLE public.counted IN ACCESS EXCLUSIVE MODE").await;
    let audited = run(service.launch(), &["audit"]).await;
    assert_eq!(audited.code, Some(1), "{}", audited.output);
    for words in [
        "was not compared: a table of it is locked",
        "2 figures compared with the queries of [[sources.check]], 0 differ.",
    ] {
        assert!(audited.output.contains(words), "{words:?} is not in {}", audited.output);
    }
    owner.run("ROLLBACK").await;
    assert_eq!(run(service.launch(), &["audit"]).await.code, Some(0));
}
