//! Tests of `day_parameters.rs`.

use super::*;

#[test]
fn filters_are_read_with_their_figures_and_types() {
    let read = |query: &str| ListingParameters::read(query).unwrap().into_query();
    let stock = |value| Some(Bound { figure: Figure::Stock, value });
    let query = read("below=stock:20&blood_type=O-&fields=totals&q=H%C3%94P&sort=-total_stock");
    assert_eq!((query.below, query.above), (stock(20), None));
    assert_eq!(query.blood_type, Some(BloodType::ONegative));
    assert_eq!((query.name.as_deref(), query.without_types), (Some("hôp"), true));
    assert_eq!(query.sort, Sort { by: Some(Figure::Stock), descending: true });
    for plus in ["blood_type=AB%2B", "blood_type=AB+"] {
        assert_eq!(read(plus).blood_type, Some(BloodType::AbPositive), "{plus}");
    }
    assert_eq!(read("blood_type=unknown").blood_type, Some(BloodType::Unknown));
    let two = "facility_id=00000000-0000-4000-8000-000000000001&\
                   facility_id=00000000-0000-4000-8000-000000000002";
    assert_eq!(read(two).facilities.map(|ids| ids.len()), Some(2));
    assert_eq!(read("above=requests:0").above.map(|bound| bound.figure), Some(Figure::Requests));
    assert_eq!(read("q=").name, None, "every name contains nothing");
}

#[test]
fn a_filter_that_cannot_be_read_is_refused_by_name() {
    for (query, words) in [
        ("below=20", "`below` is \"20\"; expected stock, transferred or requests"),
        ("below=stock:-1", "`below`"),
        ("above=stock:1e3", "`above`"),
        ("above=total_stock:1", "`above`"),
        ("below=stock:99999999999999999999", "`below`"),
        ("below=stock:1&below=stock:2", "`below` was sent twice"),
        ("blood_type=C", "`blood_type` is \"C\"; expected one of O+, O-"),
        ("facility_id=7", "`facility_id` is \"7\"; expected a UUID"),
        ("facility_id=", "`facility_id`"),
        ("fields=all", "`fields` is \"all\"; expected totals"),
        ("filter=1", "\"filter\" is unknown"),
    ] {
        let problem = ListingParameters::read(query).unwrap_err();
        assert!(problem.detail().contains(words), "{query}: {}", problem.detail());
    }
    let by_name = DayCursor::At {
        version: 1,
        sort: Sort::default(),
        figure: 0,
        id: Uuid::nil(),
        name: "A".into(),
    };
    let other = format!("sort=total_stock&cursor={by_name}");
    let refused = ListingParameters::read(&other).unwrap_err();
    assert!(refused.detail().contains("next_cursor"), "it belongs to another order");
}
