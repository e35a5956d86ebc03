//! All answers equal the owner's query while the owner's programs write, also after a migration of
//! the owner; and the service leaves nothing behind.

use std::time::{Duration, Instant};

use crate::{
    beside::{Beside, Notice},
    figures::{NO_CACHE, age, compare, facilities, read},
    fixture::Fixture,
    support::{Service, site::metric, wait_until},
    writers::Programs,
};

/// How long the owner's programs write to each schema.
fn long_enough() -> Duration {
    let seconds = std::env::var("ADOPT_SECONDS").ok().filter(|text| !text.is_empty());
    Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("ADOPT_SECONDS is a number")))
}

/// Reads every facility's today again and again, as fresh as can be, until `done`. No answer is
/// older than the reader takes.
async fn read_until(done: &std::cell::Cell<bool>, service: &Service, notice: Notice) -> u64 {
    let freshness = notice.beside_writers();
    let mut reads = 0;
    while !done.get() {
        for facility in facilities(service, freshness).await {
            let id = facility["facility_id"].as_str().expect("an id");
            let path = format!("/v1/facilities/{id}/summaries/today");
            let mut status = 0;
            // A facility may have been deleted since it was listed. While the figures cannot be
            // had, 503 says so, and it is asked again.
            wait_until("the figures can be had", async || {
                let answer = read(service, &path, freshness).await;
                status = answer.status().as_u16();
                if status == 200 {
                    assert!(age(&answer) <= Duration::from_secs(1), "{path}: {answer:?}");
                }
                status != 503
            })
            .await;
            assert!([200, 404].contains(&status), "{path}: {status}");
            reads += 1;
        }
    }
    reads
}

/// The owner's programs write in rounds for so long. After each round they pause, and every answer
/// is compared. Returns the number of reads beside the writers.
async fn write_and_compare(
    beside: &Beside,
    service: &Service,
    fixture: &Fixture,
    notice: Notice,
    time: Duration,
) -> u64 {
    let programs = Programs::read(&fixture.writers, &beside.owner_url);
    let (started, mut round, mut reads) = (Instant::now(), 0, 0);
    while round < 2 || started.elapsed() < time {
        let done = std::cell::Cell::new(false);
        let write = async {
            // The second round begins with nothing in one table. Later ones do so now and then.
            tokio::join!(
                programs.run(2 * round, round % 8 == 1),
                programs.run(2 * round + 1, false)
            );
            done.set(true);
        };
        let ((), read) = tokio::join!(write, read_until(&done, service, notice));
        reads += read;
        let exact = notice.exact(Instant::now());
        let compared = compare(service, exact, &beside.owner_url, &fixture.owner).await;
        compared.assert_equal(&format!("{}, round {round}", fixture.name));
        assert!(compared.owner.len() > 20, "{}: too few figures to compare", fixture.name);
        round += 1;
    }
    reads
}

/// Each statement of the owner's programs by itself shows as the owner's query says.
async fn one_by_one(beside: &Beside, service: &Service, fixture: &Fixture, notice: Notice) {
    let programs = Programs::read(&fixture.writers, &beside.owner_url);
    let after = async |statement: &str| {
        let exact = notice.exact(Instant::now());
        let compared = compare(service, exact, &beside.owner_url, &fixture.owner).await;
        compared.assert_equal(&format!("{}, after {statement}", fixture.name));
    };
    programs.run_one_by_one(after).await;
}

/// A migration of the owner renames a mapped column. Nothing is answered as exact from then on,
/// until the mapping says how the column is called now. The owner's programs write meanwhile.
async fn migrate_half_way(
    beside: &mut Beside,
    service: Service,
    fixture: &Fixture,
    notice: Notice,
) -> Service {
    let facility = facilities(&service, "max-stale").await.remove(0);
    let path = format!(
        "/v1/facilities/{}/summaries/today",
        facility["facility_id"].as_str().expect("an id")
    );
    beside.owner.run(fixture.rename().statement()).await;
    wait_until("no answer is said to be exact", async || {
        read(&service, &path, "no-cache").await.status().is_server_error()
    })
    .await;
    let renamed = fixture.renamed();
    let programs = Programs::read(&renamed.writers, &beside.owner_url);
    programs.run(1000, false).await;
    let (_, launch) = service.terminate().await;
    programs.run(1001, true).await;
    beside.write_mapping(&renamed.mapping);
    notice.install(beside).await;
    notice.start(launch).await
}

async fn answers_equal_the_owners_query(name: &'static str, notice: Notice) {
    let fixture = Fixture::read(name);
    let mut beside = Beside::make(&fixture).await;
    notice.map(&mut beside, &fixture).await;
    let before = beside.all_definitions();
    notice.install(&mut beside).await;
    let service = notice.start(beside.launch.clone()).await;
    let exact = notice.exact(Instant::now());
    let first = compare(&service, exact, &beside.owner_url, &fixture.owner).await;
    first.assert_equal(&format!("{name}, before anything is written"));

    let half = long_enough() / 2;
    let mut reads = write_and_compare(&beside, &service, &fixture, notice, half).await;
    if notice == Notice::Triggers {
        // A read from the tables would make up for a write that no trigger has noticed.
        one_by_one(&beside, &service, &fixture, notice).await;
    }
    let service = migrate_half_way(&mut beside, service, &fixture, notice).await;
    let renamed = fixture.renamed();
    reads += write_and_compare(&beside, &service, &renamed, notice, half).await;
    assert!(reads > 0, "nobody read while the programs wrote");

    if notice == Notice::Triggers {
        let last = compare(&service, NO_CACHE, &beside.owner_url, &renamed.owner).await;
        last.assert_equal(&format!("{name}, read from the tables"));
        beside.audited().await;
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    }
    service.terminate().await;
    beside.owner.run(fixture.rename().back()).await;
    if notice == Notice::Rebuild {
        assert_eq!(beside.definitions(), before, "something was made outside its schema");
    }
    notice.remove(&mut beside).await;
    assert_eq!(beside.all_definitions(), before, "something was left behind");
}

/// A test of each schema in both ways, such as `wards::by_rebuild` and `wards::by_triggers`.
macro_rules! for_each_schema {
    ($($test:ident: $folder:literal),+ $(,)?) => { $(
        mod $test {
            use super::{Notice, answers_equal_the_owners_query};

            #[tokio::test]
            async fn by_rebuild() {
                answers_equal_the_owners_query($folder, Notice::Rebuild).await;
            }

            #[tokio::test]
            async fn by_triggers() {
                answers_equal_the_owners_query($folder, Notice::Triggers).await;
            }
        }
    )+ };
}

for_each_schema! {
    bags_a_row_each_and_movements_with_a_kind: "bags",
    ledger_with_signs_and_codes_of_products: "ledger",
    national_tables_of_units_that_add_up: "national",
    wards_with_quoted_names_and_a_facility_behind_three_joins: "wards",
    schemas_of_several_modules: "schemas",
    branches_with_quantities_of_batches_and_a_table_of_groups: "branches",
    district_without_foreign_keys: "district",
}
