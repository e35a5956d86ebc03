//! Tests of `data_set.rs`.

use super::*;

fn options() -> Options {
    Options {
        seed: 7,
        days: 3,
        template: None,
        variance: 0.3,
        last_day: jiff::civil::date(2026, 3, 1),
    }
}

#[test]
fn ids_are_ordered_by_facility_and_told_apart_by_data_set() {
    let set = DataSet::new(options());
    for number in [0, 1, 4_095, 4_096, 70_000_000] {
        let facility = set.facility(number);
        assert_eq!(set.number_of(facility.id), number);
        assert_eq!(facility.id.get_version_num(), 8);
        let range = set.ids(number..number + 1);
        assert!(
            range.contains(&facility.id) && range.contains(&facility.row_id(5, 1 << 55)),
            "{number}"
        );
        assert!(!range.contains(&set.facility(number + 1).id));
    }
    let other = DataSet::new(Options { days: 4, ..options() });
    assert!(!other.ids(0..1_000_000).contains(&set.facility(3).id));
}

#[test]
fn without_variance_facilities_of_a_template_are_alike() {
    let set =
        DataSet::new(Options { variance: 0.0, template: Some(Template::RuralClinic), ..options() });
    let first = set.facility(0).counts();
    assert!(set.facilities(1..50).all(|facility| facility.counts() == first));
}

#[test]
fn templates_differ_in_size_in_their_order() {
    let rows = |template| {
        DataSet::new(Options { template: Some(template), ..options() }).counts(0..50).rows()
    };
    assert!(rows(Template::TraumaCentre) > rows(Template::RegionalHospital));
    assert!(rows(Template::RegionalHospital) > rows(Template::CommunityHospital));
    assert!(rows(Template::CommunityHospital) > rows(Template::RuralClinic));
}
