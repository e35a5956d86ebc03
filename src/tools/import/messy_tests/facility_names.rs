//! Which texts are names of facilities, which names mean the same facility, and which texts are no
//! names.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{REQUESTS, names, refused, registered, told};
use crate::tools::import::{identity::facility_id, recorder::Recorder};

#[tokio::test]
async fn rows_that_become_one_facility_are_counted_and_named() {
    let target = Recorder::default();
    let said = told(
        &target,
        "facilities",
        "name,town\nTema,a\nAccra,b\nTema,c\nKumasi,d\nTema,e\nAccra,f\n",
        "--columns name=name",
    )
    .await;
    let said = said.unwrap();
    assert!(
        said.contains(
            "\n6 rows, 3 facilities: 3 rows name a facility that an earlier row names, and are \
             one with it, such as \"Tema\" (lines 2, 4, 6), \"Accra\" (lines 3, 7)"
        ),
        "{said}"
    );
    // One facility has many requests.
    let said =
        told(&target, "requests", "at,to,n\n2020-01-01,Tema,1\n2020-01-01,Tema,1\n", REQUESTS)
            .await
            .unwrap();
    assert!(!said.contains("earlier row"), "{said}");
    let many: String = (0..40).map(|n| format!("Ward {}\n", n % 10)).collect();
    let said =
        told(&target, "facilities", &format!("name\n{many}"), "--columns name=name").await.unwrap();
    assert!(
        said.contains("40 rows, 10 facilities: 30 rows name") && said.matches("Ward").count() == 5,
        "{said}"
    );
}

#[tokio::test]
async fn spellings_that_look_alike_are_one_facility_and_every_report_says_so() {
    let spellings =
        ["H\u{f4}pital", "Ho\u{302}pital", "H\u{f4}pi\u{ad}tal", "\u{200e}H\u{f4}pital "];
    for (kind, header, row, options) in [
        ("facilities", "to", "", "--columns name=to"),
        ("requests", "to,at,n", ",2020-01-01,1", REQUESTS),
        (
            "distributions",
            "to,at,n",
            ",2020-01-01,1",
            "--columns date_delivered=at,facility=to,quantity=n",
        ),
        (
            "stock-history",
            "to,n",
            ",1",
            "--columns facility=to,quantity=n --set date=2020-01-01 --same-day sum",
        ),
    ] {
        let target = Recorder::default();
        let rows: String = spellings.iter().map(|name| format!("{name}{row}\n")).collect();
        let said = told(&target, kind, &format!("{header}\n{rows}"), options).await.unwrap();
        assert!(
            said.contains(
                "\n1 facility has several spellings that look alike and count as one name: \
                 \"H\u{f4}pital\" (line 2), \"Ho<U+0302>pital\" (line 3), \
                 \"H\u{f4}pi<U+00AD>tal\" (line 4)"
            ),
            "{kind}: {said}"
        );
        let facilities = target.facility_rows();
        assert_eq!(facilities.len(), 1, "{kind}");
        assert_eq!(
            (facilities[0].name.as_str(), facilities[0].id),
            ("H\u{f4}pital", facility_id("H\u{f4}pital")),
            "{kind}"
        );
        // When the decomposed spelling comes first, it is the one that is shown. It is the same
        // facility.
        let target = Recorder::default();
        told(&target, kind, &format!("{header}\nHo\u{302}pital{row}\n"), options).await.unwrap();
        assert_eq!(
            (names(&target), target.facility_rows()[0].id),
            (BTreeSet::from(["Ho\u{302}pital".to_owned()]), facility_id("H\u{f4}pital"))
        );
    }
}

#[tokio::test]
async fn a_facility_that_was_registered_under_another_spelling_is_found() {
    for (registered_as, id) in [
        // Registered by a release for which the two spellings were two names.
        ("Ho\u{302}pital", facility_id("Ho\u{302}pital")),
        // Registered over HTTP.
        ("Ho\u{302}pital", Uuid::from_u128(7)),
        // Registered by that release, and renamed since.
        ("General", facility_id("Ho\u{302}pital")),
    ] {
        let target = Recorder::default();
        registered(&target, id, registered_as).await;
        let said = told(&target, "requests", "at,to,n\n2020-01-01,Ho\u{302}pital,1\n", REQUESTS)
            .await
            .unwrap();
        assert!(said.contains("; 0 facilities registered"), "{said}");
        if registered_as != "General" {
            let said = told(&target, "facilities", "name\nH\u{f4}pital\n", "--columns name=name")
                .await
                .unwrap();
            assert!(
                said.contains("\"Ho<U+0302>pital\" (registered), \"H\u{f4}pital\" (line 2)"),
                "{said}"
            );
        }
        assert_eq!(target.facility_rows().len(), 1, "{registered_as}");
        assert_eq!(names(&target), BTreeSet::from([registered_as.to_owned()]));
    }
}

#[tokio::test]
async fn a_malformed_id_registers_no_facility() {
    for (cell, wants) in [
        (
            "c3d4e5f6-g7h8-4901-cdef-345678901234",
            "looks like a UUID and is none: its character 10 is \"g\"",
        ),
        ("c3d4e5f6-a7b8-4901-cdef-34567890123", "it has 31 digits, 1 too few"),
        ("00000000-0000-0000-0000-000000000000", "is the nil UUID, which names nothing"),
        ("{00000000-0000-0000-0000-000000000000}", "is the nil UUID"),
        ("00000000-0000-0000-0000-00000000000", "1 too few"),
        ("c3d4e5f6-a7b8-4901-cdef-345678901234", "is the id of no registered facility"),
    ] {
        let target = Recorder::default();
        for (kind, options) in [
            ("requests", REQUESTS),
            ("distributions", "--columns date_delivered=at,facility=to,quantity=n"),
            ("stock-history", "--columns date=at,facility=to,quantity=n"),
        ] {
            let error = told(&target, kind, &format!("at,to,n\n2020-01-01,{cell},1\n"), options)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("line 2, column \"to\": ") && error.contains(wants),
                "{kind} {cell}: {error}"
            );
        }
        let error = told(&target, "facilities", &format!("to\n{cell}\n"), "--columns name=to")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column \"to\": ")
                && error.contains("looks like an id, and a name is needed"),
            "{error}"
        );
        assert_eq!(names(&target), BTreeSet::new());
    }
    let error = refused(
        "facilities",
        "id,name\n3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4,Tema\n",
        "--columns id=id,name=name",
    )
    .await
    .to_string();
    assert!(error.contains("line 2, column \"id\"") && error.contains("1 too few"), "{error}");
}

#[tokio::test]
async fn no_facility_is_registered_under_a_text_that_is_no_name() {
    for (cell, wants) in [
        ("n/a", "stands for a missing value"),
        ("-", "stands for a missing value"),
        ("Grand Total:", "reads like the line of a total"),
        ("=A5", "is a formula"),
        ("HÃ´pital", "was turned into UTF-8 twice, and \"Hôpital\" is meant"),
        ("to", "is the name of the column itself, so the header stands here again"),
    ] {
        for (kind, options) in [("requests", REQUESTS), ("facilities", "--columns name=to")] {
            let error = refused(kind, &format!("at,to,n\n2020-01-01,{cell},1\n"), options)
                .await
                .to_string();
            assert!(
                error.contains("line 2, column \"to\": ") && error.contains(wants),
                "{kind} {cell}: {error}"
            );
        }
    }
    // Such a name is a fault also in a row with an id.
    for (cell, wants) in [
        ("\u{19}Tema", "holds control characters"),
        ("n/a", "stands for a missing value"),
        ("c3d4e5f6-a7b8-4901-cdef-34567890123", "looks like an id"),
    ] {
        let content = format!("id,to\n3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b,{cell}\n");
        let error = refused("facilities", &content, "--columns id=id,name=to").await.to_string();
        assert!(
            error.contains("line 2, column \"to\": ") && error.contains(wants),
            "{cell}: {error}"
        );
    }
    // A facility that already has such a name is found under it.
    let target = Recorder::default();
    registered(&target, Uuid::from_u128(7), "Total").await;
    told(&target, "requests", "at,to,n\n2020-01-01,Total,1\n", REQUESTS).await.unwrap();
}
