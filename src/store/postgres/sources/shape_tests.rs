//! Tests of `shape.rs`.

use super::*;

fn column(table_id: i64, number: i16, name: &str) -> Column {
    Column {
        table_id,
        table_name: "public.bag".into(),
        number,
        name: name.into(),
        type_name: "date".into(),
        labels: Vec::new(),
        may_be_read: true,
        hides_rows: false,
        home: "1/5/9".into(),
    }
}

fn texts(before: &[Column], now: &[Column]) -> Vec<String> {
    let changes = compare(before, now);
    changes.into_iter().map(|change| format!("{} {}", change.breaks, change.text)).collect()
}

#[test]
fn each_change_is_named() {
    let before = [column(7, 1, "id"), column(7, 4, "expiry")];
    let with = |change: &dyn Fn(&mut Column)| {
        let mut now = before.clone();
        now.iter_mut().for_each(change);
        texts(&before, &now)
    };
    assert!(with(&|_| {}).is_empty());
    assert_eq!(
        texts(&before, &[column(7, 1, "id"), column(7, 4, "expires_on")]),
        ["true public.bag.expiry is now public.bag.expires_on"]
    );
    assert_eq!(texts(&before, &[column(7, 1, "id")]), ["true public.bag.expiry is gone"]);
    assert_eq!(texts(&before, &[]), ["true public.bag is gone"]);
    assert_eq!(
        with(&|now| now.table_name = "archive.bag".into()),
        ["true public.bag is now archive.bag"]
    );
    assert_eq!(
        with(&|now| now.may_be_read = now.number != 4),
        ["true public.bag.expiry may not be read any more (GRANT SELECT to the service's role, \
          or adopt install, gives the right back)"]
    );
    assert_eq!(
        texts(&before, &[column(7, 1, "id"), column(7, 5, "expiry")]),
        ["false public.bag.expiry was dropped, and another column with its name was added, which \
          the mapping reads now"]
    );
    assert_eq!(
        texts(&before[1..], &[column(7, 4, "old_expiry"), column(7, 5, "expiry")]),
        ["false public.bag.expiry is now public.bag.old_expiry, and another column with its name \
          was added, which the mapping reads now"]
    );
    let hidden = with(&|now| now.hides_rows = true);
    assert_eq!(hidden.len(), 1, "{hidden:?}");
    assert!(hidden[0].starts_with("true row-level security of public.bag hides"), "{hidden:?}");
    assert_eq!(
        texts(&before[1..], &[Column { type_name: "text".into(), ..column(7, 4, "expiry") }]),
        ["false public.bag.expiry is now of the type text, and was date"]
    );
}

#[test]
fn a_table_that_was_restored_is_compared_by_its_names() {
    let before = [column(7, 1, "id"), column(7, 4, "expiry")];
    assert!(texts(&before, &[column(9, 3, "expiry"), column(9, 1, "id")]).is_empty());
    assert_eq!(texts(&before, &[column(9, 1, "id")]), ["true public.bag.expiry is gone"]);
}

/// In a restored dump other tables may have the ids.
#[test]
fn in_another_place_the_ids_are_those_of_the_names() {
    let before = [column(7, 1, "id"), column(7, 4, "expiry")];
    let other = |id, name: &str| Column { table_name: "pg_toast.t".into(), ..column(id, 1, name) };
    let now = [column(9, 3, "expiry"), column(9, 1, "id"), other(7, "chunk_id")];
    let here = with_ids_of(&before, &now);
    assert_eq!(here.iter().map(|c| (c.table_id, c.number)).collect::<Vec<_>>(), [(9, 1), (9, 3)]);
    assert!(texts(&here, &now).is_empty());
    let gone = with_ids_of(&before, &now[1..]);
    assert_eq!(texts(&gone, &now[1..]), ["true public.bag.expiry is gone"]);
    assert_eq!(texts(&with_ids_of(&before, &now[2..]), &now[2..]), ["true public.bag is gone"]);
}

#[test]
fn labels_that_come_and_go_are_named() {
    let of = |labels: &[&str]| Column {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..column(7, 2, "status")
    };
    assert_eq!(
        texts(&[of(&["free", "used"])], &[of(&["used", "lost"])]),
        [
            "false date, the type of public.bag.status, has the new label 'lost'",
            "false date, the type of public.bag.status, has no label 'free' any more",
        ]
    );
    assert_eq!(
        texts(&[of(&["free", "used", "lost"])], &[of(&["used", "free", "new"])])[0],
        "false date, the type of public.bag.status, has the new label 'new'"
    );
    assert_eq!(
        texts(&[of(&["free", "used"])], &[of(&["used", "free"])]),
        ["false date, the type of public.bag.status, has its labels in another order: used, free"]
    );
}
