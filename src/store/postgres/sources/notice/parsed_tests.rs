//! Tests of the reading of a mapping's SQL.

use super::*;

fn columns(parsed: &Parsed, nth: usize) -> Vec<String> {
    let uses = parsed.uses(&parsed.expressions[nth]);
    uses.columns.iter().map(|(alias, column)| format!("{alias}.{column}")).collect()
}

#[test]
fn tables_conditions_and_columns_are_found() {
    let parsed = parse(
        "public.\"Bag\" B JOIN public.store AS s ON (s.id = b.store_id AND s.kind = 'x') LEFT \
         JOIN other.site USING (site_id)",
        Some("b.hospital = s.hospital AND (b.state IN (SELECT id FROM public.state) OR b.x)"),
        &["s.hospital_id", "coalesce(b.\"At\", s.at)::date"],
    )
    .expect("it is plain SQL");
    let aliases: Vec<_> = parsed.tables.iter().map(|t| (&*t.table.name, &*t.alias)).collect();
    assert_eq!(aliases, [("Bag", "b"), ("store", "s"), ("site", "site")]);
    let conditions: Vec<String> =
        parsed.conditions.iter().map(|one| one.expression.to_string()).collect();
    assert_eq!(conditions[..3], ["s.id = b.store_id", "s.kind = 'x'", "b.hospital = s.hospital"]);
    assert_eq!(parsed.nested.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["state"]);
    assert_eq!(columns(&parsed, 0), ["s.hospital_id"]);
    assert_eq!(columns(&parsed, 1), ["b.At", "s.at"]);
    assert_eq!(parsed.uses(&parsed.expressions[0]).only_alias(), Some("s"));
    assert_eq!(parsed.uses(&parsed.expressions[1]).only_alias(), None);
}

#[test]
fn what_is_no_table_is_refused_with_the_words_why() {
    for (from, why) in [
        ("public.bags_of(7) b", "the function"),
        ("bag b", "name each table with its schema"),
        ("public.bag b (x)", "renamed"),
        ("public.bag b WHERE", "cannot be read"),
    ] {
        let error = parse(from, None, &["b.id"]).expect_err(from);
        assert!(error.contains(why), "{from}: {error}");
    }
}

/// Which tables may be absent, and which conditions do not hold then.
#[test]
fn outer_joins_say_which_tables_may_be_absent() {
    let nullable = |from: &str| -> String {
        let parsed = parse(from, None, &["1"]).expect("it is plain SQL");
        let absent = parsed.tables.iter().filter(|table| table.is_nullable);
        absent.map(|table| table.alias.clone()).collect::<Vec<_>>().join(" ")
    };
    for (from, absent) in [
        ("s.a JOIN s.b ON a.x = b.x", ""),
        ("s.a LEFT JOIN s.b ON a.x = b.x JOIN s.c ON c.x = b.x", "b"),
        ("s.a LEFT JOIN (s.b JOIN s.c ON c.x = b.x) ON a.x = b.x", "b c"),
        ("s.z, s.a JOIN s.b ON true RIGHT JOIN s.c ON c.x = b.x", "a b"),
        ("s.a FULL JOIN s.b USING (x)", "a b"),
    ] {
        assert_eq!(nullable(from), absent, "{from}");
    }
    let parsed = parse("s.a LEFT JOIN s.b ON a.x = b.x", Some("a.y = 1"), &["1"]).expect("SQL");
    let holds = |nth: usize| parsed.conditions[nth].holds_without.clone();
    assert_eq!((holds(0), holds(1)), (Some(BTreeSet::from(["b".to_owned()])), None));
}

#[test]
fn a_using_of_several_tables_is_said_to_be_unclear() {
    for (from, is_unclear) in [
        ("s.a JOIN s.b USING (x)", false),
        ("s.a JOIN s.b USING (x) JOIN s.c USING (y)", true),
        ("s.a NATURAL JOIN s.b", true),
    ] {
        let parsed = parse(from, None, &["1"]).expect("it is plain SQL");
        assert_eq!(parsed.is_unclear, is_unclear, "{from}");
    }
}
