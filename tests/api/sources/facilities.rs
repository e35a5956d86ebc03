//! Facilities are those of the owner's table, as it is now.

use serde_json::Value;

use super::{MAPPING, mapped, now, today_of, with_key};
use crate::{
    steps::{get, read},
    support::{Service, wait_until},
};

async fn names(service: &Service) -> Vec<String> {
    let answer = read(service, "/v1/facilities", "no-cache").await;
    let list: Value = answer.json().await.expect("JSON");
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_facility_is_found_by_the_owners_key_and_keeps_its_id() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    let ridge = with_key(&service, "1").await.expect("it is mapped");
    assert_eq!((&ridge["name"], &ridge["key"]), (&"Ridge Hospital".into(), &"1".into()));
    let path = format!("/v1/facilities/{}", ridge["facility_id"].as_str().expect("an id"));
    assert_eq!(get(&service, &path).await["key"], "1");
    assert_eq!(with_key(&service, "3").await, None, "it is closed");
    assert_eq!(with_key(&service, "99").await, None);
    // The key stays; the table may get another name, and everything else may change.
    let (_, launch) = service.terminate().await;
    sql.run("UPDATE public.hospital SET title = 'Ridge' WHERE id = 1").await;
    let service = launch.start().await;
    let again = with_key(&service, "1").await.expect("it is mapped");
    assert_eq!(again["facility_id"], ridge["facility_id"]);
    assert_eq!(again["name"], "Ridge");
}

#[tokio::test]
async fn facilities_are_as_new_as_their_reader_asks() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    assert_eq!(names(&service).await, ["Ridge Hospital", "Tema General"]);
    sql.run("INSERT INTO public.hospital VALUES (4, 'Apam Clinic', NULL)").await;
    assert_eq!(names(&service).await, ["Apam Clinic", "Ridge Hospital", "Tema General"]);
    sql.run("UPDATE public.hospital SET title = 'Axim Clinic' WHERE id = 4").await;
    assert_eq!(names(&service).await, ["Axim Clinic", "Ridge Hospital", "Tema General"]);
    let id = with_key(&service, "4").await.expect("it is mapped")["facility_id"].clone();
    let path = today_of(&service, "4").await;
    assert_eq!(now(&service, "4").await["total_stock"], 0);
    sql.run("UPDATE public.hospital SET closed_on = now()::date WHERE id = 4").await;
    assert_eq!(names(&service).await, ["Ridge Hospital", "Tema General"]);
    assert_eq!(read(&service, &path, "no-cache").await.status(), 404);
    sql.run("UPDATE public.hospital SET closed_on = NULL WHERE id = 4").await;
    wait_until("the facility is open again", async || names(&service).await.len() == 3).await;
    assert_eq!(with_key(&service, "4").await.expect("it is mapped")["facility_id"], id);
    assert_eq!(now(&service, "4").await["total_stock"], 0);
}

/// The figures of a day are counted in the zone that the facility has at that instant.
#[tokio::test]
async fn a_facility_that_moves_to_another_zone_is_counted_there() {
    let mapping = MAPPING.replace("\"'Africa/Accra'\"", "\"h.zone\"");
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run("ALTER TABLE public.hospital ADD zone text NOT NULL DEFAULT 'Africa/Accra'").await;
    let service = launch.start().await;
    let path = today_of(&service, "1").await;
    for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Africa/Accra"] {
        sql.run(format!("UPDATE public.hospital SET zone = '{zone}' WHERE id = 1")).await;
        let answer = read(&service, &path, "no-cache").await;
        assert_eq!(answer.status(), 200);
        let summary: Value = answer.json().await.expect("JSON");
        let date = jiff::Timestamp::now().in_tz(zone).expect("a zone").date();
        assert_eq!(summary["date"], date.to_string(), "{zone}");
    }
}
