//! What does not fit is refused, with words that say what would.

use super::{MAPPING, mapped, run, sources_of};
use crate::{
    steps::facility,
    support::{Service, service::Exited},
};

fn assert_refused(exited: &Exited, code: i32, words: &[&str]) {
    assert_eq!(exited.code, Some(code), "{}", exited.output);
    for word in words {
        assert!(exited.output.contains(word), "{word:?} is not in: {}", exited.output);
    }
}

#[tokio::test]
async fn a_mapping_that_does_not_fit_the_database_stops_the_start() {
    for (right, wrong, words) in [
        ("h.title", "h.titel", ["sources.facilities", "h.titel"]),
        ("b.expiry", "b.expires", ["sources.stock[0]", "b.expires"]),
        ("m.units", "m.unit", ["sources.deliveries[0]", "m.unit"]),
        ("m.kind = 'request'", "m.sort = 'request'", ["sources.requests[0]", "m.sort"]),
    ] {
        let (launch, _) = mapped(&MAPPING.replace(right, wrong)).await;
        assert_refused(&run(&launch, &["migrate"]).await, 1, &words);
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_is_refused_with_the_line_or_the_key() {
    for (right, wrong, words) in [
        ("facility = ", "facilty = ", ["unknown field `facilty`", "line"]),
        ("key = \"h.id\"\n", "", ["missing field `key`", "line"]),
        ("at_as = \"local\"", "at_as = \"lokal\"", ["sources.deliveries[0].at_as", "lokal"]),
        (
            "h.closed_on IS NULL",
            "h.id = 1) OR (true",
            ["sources.facilities.where (line 6 of", "ends a parenthesis that it did not begin"],
        ),
        (
            "m.kind = 'request'",
            "m.kind = 'request' -- only these",
            ["sources.requests[0].where (line 32 of", "the comment at its end"],
        ),
        ("\"O+\"", "\"0 pos\"", ["sources.blood_types", "O+, O-, A+"]),
    ] {
        let (launch, _) = mapped(&MAPPING.replace(right, wrong)).await;
        assert_refused(&run(&launch, &["migrate"]).await, 2, &words);
    }
    let (launch, _) = mapped(MAPPING).await;
    let url = format!("sqlite://{}", launch.folder().join("a.db").display());
    let exited = run(&launch.env("DATABASE_URL", url), &["migrate"]).await;
    assert_refused(&exited, 2, &["postgres://", "[sources]"]);
}

#[tokio::test]
async fn commands_that_write_into_our_own_tables_are_refused_beside_a_mapping() {
    let (launch, _) = mapped(MAPPING).await;
    for arguments in
        [&["generate", "--facilities", "3"][..], &["serve", "--demo"], &["import", "undo", "1"]]
    {
        assert_refused(&run(&launch, arguments).await, 2, &[arguments[0], "[sources]"]);
    }
}

/// With another origin of its facilities, an installation would lose them, or show zeros.
#[tokio::test]
async fn an_installation_keeps_to_one_origin_of_its_facilities() {
    let launch = Service::on_postgres().await;
    let service = launch.start().await;
    facility(&service, "North", "UTC").await;
    let (_, launch) = service.terminate().await;
    std::fs::write(sources_of(&launch), MAPPING).expect("the folder can be written");
    let exited = run(&launch, &["migrate"]).await;
    assert_refused(&exited, 1, &["facilities of its own", "database.schema"]);

    let (launch, _) = mapped(MAPPING).await;
    assert_eq!(run(&launch, &["migrate"]).await.code, Some(0));
    let exited = Service::on(launch.database_url()).run(&["migrate"]).await;
    assert_refused(&exited, 1, &["[sources]", "database.schema"]);
}
