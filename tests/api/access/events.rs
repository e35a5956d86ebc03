//! Events of somebody who may post for some facilities only.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{key_of, signed_in, site};
use crate::{
    on_both_stores,
    steps::{distribution, inventory, now_ms, post, request},
    support::{Service, events::event, site::Site},
};

async fn posted(service: &Service, key: &str, events: &[Value]) -> (u16, Value) {
    let answer = service
        .request_as(Some(key), reqwest::Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents-batch+json")
        .body(serde_json::to_string(events).unwrap())
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn removed(kind: &str, id: Uuid) -> Value {
    event(&format!("{kind}.removed"), json!({format!("{kind}_id"): id}))
}

/// A lot, a delivery and a request of a site.
fn stated(site: Site, [lot, delivery, wish]: [Uuid; 3], units: i64) -> Vec<Value> {
    vec![
        inventory(lot, site.bank, "O+", units),
        distribution(delivery, site.facility, units, now_ms()),
        request(wish, site.facility, now_ms()),
    ]
}

/// Events that would give away what stands in `own`.
fn given_away(
    own: Site,
    other: Site,
    [lot, delivery, wish]: [Uuid; 3],
) -> Vec<(&'static str, Value)> {
    let now = now_ms();
    let bank = json!({"blood_bank_id": own.bank, "facility_id": other.facility, "name": "Gone"});
    vec![
        ("a lot that is moved away", inventory(lot, other.bank, "O+", 5)),
        ("a delivery that goes elsewhere", distribution(delivery, other.facility, 3, now)),
        ("a request that is another's now", request(wish, other.facility, now)),
        ("a bank that is moved away", event("blood_bank.registered", bank)),
    ]
}

/// Events that are not, or will not be, only of `own`. In the other facility stand these entities.
fn foreign(own: Site, other: Site, [lot, delivery, wish]: [Uuid; 3]) -> Vec<(&'static str, Value)> {
    let (now, nobody) = (now_ms(), Uuid::new_v4());
    let lot_in = |bank: Uuid| inventory(Uuid::new_v4(), bank, "O+", 1);
    let bank = |facility: Uuid| {
        let data = json!({"blood_bank_id": other.bank, "facility_id": facility, "name": "Taken"});
        event("blood_bank.registered", data)
    };
    let facility = |id: Uuid| {
        let data = json!({"facility_id": id, "name": "Taken", "timezone": "Etc/UTC"});
        event("facility.registered", data)
    };
    let touched = |id: Uuid| event("summary.touched", json!({"facility_id": id}));
    vec![
        ("a lot in another bank", lot_in(other.bank)),
        ("a lot of another bank that is moved here", inventory(lot, own.bank, "O+", 5)),
        ("a lot in a bank that nobody knows", lot_in(nobody)),
        ("a delivery to another", distribution(Uuid::new_v4(), other.facility, 1, now)),
        ("a delivery under way to another", distribution(delivery, own.facility, 3, now)),
        ("a delivery to nobody", distribution(Uuid::new_v4(), nobody, 1, now)),
        ("a request of another", request(Uuid::new_v4(), other.facility, now)),
        ("a request that was another's", request(wish, own.facility, now)),
        ("the end of another's lot", removed("inventory", lot)),
        ("the end of another's delivery", removed("distribution", delivery)),
        ("the end of another's request", removed("request", wish)),
        ("the end of what nobody knows", removed("request", nobody)),
        ("a touch of another", touched(other.facility)),
        ("a touch of nobody", touched(nobody)),
        ("another's bank that is moved here", bank(own.facility)),
        ("a new name of another", facility(other.facility)),
        ("a new facility", facility(nobody)),
    ]
}

on_both_stores! {
    async fn an_operator_posts_only_what_was_and_will_be_of_its_facilities(launch: Launch) {
        let service = signed_in(launch).await;
        let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
        let now = now_ms();
        let [lot, delivery, wish] = [(); 3].map(|()| Uuid::new_v4());
        // What stands in the other facility; the delivery is under way, so it counts nowhere yet.
        let mut theirs = stated(other, [lot, delivery, wish], 5);
        theirs[1]["data"].as_object_mut().unwrap().remove("date_delivered");
        post(&service, &theirs).await;
        let mine = [(); 3].map(|()| Uuid::new_v4());
        post(&service, &stated(own, mine, 4)).await;
        // What stood in the other facility, and has ended.
        let gone = [(); 3].map(|()| Uuid::new_v4());
        post(&service, &stated(other, gone, 2)).await;
        let kinds = ["inventory", "distribution", "request"];
        let ends: Vec<Value> = kinds.iter().zip(gone).map(|(kind, id)| removed(kind, id)).collect();
        post(&service, &ends).await;
        let operator = key_of(&service, "operator", &[own.facility]).await;
        let right = || inventory(Uuid::new_v4(), own.bank, "A+", 1);
        let versions = async |of: Uuid| {
            let path = format!("/v1/facilities/{of}/summaries/today");
            let summary: Value = service.get(&path).await.json().await.unwrap();
            summary["version"].clone()
        };
        let before = (versions(own.facility).await, versions(other.facility).await);
        let foreign = foreign(own, other, [lot, delivery, wish]);
        let again = stated(own, gone, 1).into_iter().map(|event| ("what was another's", event));
        let all = foreign.into_iter().chain(given_away(own, other, mine)).chain(again);
        for (what, event) in all {
            // Beside one that would be right: nothing of the batch is applied.
            let (status, problem) = posted(&service, &operator, &[right(), event]).await;
            assert_eq!(status, 403, "{what}: {problem}");
            assert!(
                problem["errors"][0]["pointer"].as_str().unwrap().starts_with("/1"),
                "{what}: {problem}"
            );
            assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{what}: {problem}");
        }
        assert_eq!(before, (versions(own.facility).await, versions(other.facility).await));
        let (lot, bank) = (Uuid::new_v4(), Uuid::new_v4());
        let new_bank = event(
            "blood_bank.registered",
            json!({"blood_bank_id": bank, "facility_id": own.facility, "name": "Second"}),
        );
        for events in [
            stated(own, mine, 3),
            vec![
                removed("inventory", mine[0]),
                removed("distribution", mine[1]),
                removed("request", mine[2]),
            ],
            vec![inventory(lot, bank, "O+", 7), new_bank],
            vec![removed("inventory", lot)],
            vec![removed("inventory", lot)],
            vec![
                distribution(Uuid::new_v4(), own.facility, 3, now),
                request(Uuid::new_v4(), own.facility, now),
            ],
            vec![event("summary.touched", json!({"facility_id": own.facility}))],
        ] {
            let (status, answer) = posted(&service, &operator, &events).await;
            assert_eq!(status, 200, "{events:?}: {answer}");
        }
        let all = key_of(&service, "service", &[]).await;
        let (status, answer) =
            posted(&service, &all, &[inventory(Uuid::new_v4(), other.bank, "B-", 2)]).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// What counted nowhere was a facility's all the same: a delivery under way.
    async fn a_removed_entity_stays_its_facilitys(launch: Launch) {
        let service = signed_in(launch).await;
        let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
        let under_way = |id: Uuid, to: Uuid| {
            let mut delivery = distribution(id, to, 3, now_ms());
            delivery["data"].as_object_mut().unwrap().remove("date_delivered");
            delivery
        };
        let operator = key_of(&service, "operator", &[own.facility]).await;
        let others = key_of(&service, "operator", &[other.facility]).await;
        let [mine, theirs] = [(); 2].map(|()| Uuid::new_v4());
        let removal = removed("distribution", mine);
        for events in [vec![under_way(mine, own.facility)], vec![removal.clone()], vec![removal]] {
            let (status, answer) = posted(&service, &operator, &events).await;
            assert_eq!(status, 200, "a retry learns what it did: {answer}");
        }
        let ended = removed("distribution", theirs);
        for events in [vec![under_way(theirs, other.facility)], vec![ended]] {
            let (status, answer) = posted(&service, &others, &events).await;
            assert_eq!(status, 200, "{answer}");
        }
        let taken = distribution(theirs, own.facility, 9, now_ms());
        let (status, answer) = posted(&service, &operator, &[taken]).await;
        assert_eq!(status, 403, "it was the other's: {answer}");
        let back = distribution(theirs, other.facility, 2, now_ms());
        let (status, answer) = posted(&service, &others, &[back]).await;
        assert_eq!(status, 200, "{answer}");
    }
}
