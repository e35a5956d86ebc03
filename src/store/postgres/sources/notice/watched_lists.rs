//! The lists of a mapping, as far as noticing needs them.

use crate::{
    config::sources::{SourcesSettings, TimeKind},
    store::MarkKind,
};

/// One list of the mapping.
pub(super) struct List<'s> {
    pub name: String,
    pub kind: MarkKind,
    pub from: &'s str,
    pub condition: Option<&'s str>,
    pub facility: &'s str,
    /// The other expressions, which may have sub-selects.
    pub others: Vec<&'s str>,
    pub at: Option<(&'s str, TimeKind)>,
}

/// All lists, that of the facilities first.
pub(super) fn lists_of(sources: &SourcesSettings) -> Vec<List<'_>> {
    let facilities = &sources.facilities;
    let mut lists = vec![List {
        name: "sources.facilities".into(),
        kind: MarkKind::Facility,
        from: &facilities.from,
        condition: facilities.r#where.as_deref(),
        facility: &facilities.key,
        others: vec![&facilities.name, &facilities.timezone],
        at: None,
    }];
    for (nth, source) in sources.stock.iter().flatten().enumerate() {
        let others =
            [source.blood_type.as_deref(), Some(&*source.quantity), source.expires.as_deref()];
        lists.push(List {
            name: format!("stock[{nth}]"),
            kind: MarkKind::Stock,
            from: &source.from,
            condition: source.r#where.as_deref(),
            facility: &source.facility,
            others: others.into_iter().flatten().collect(),
            at: None,
        });
    }
    for (list, sources) in [("deliveries", &sources.deliveries), ("requests", &sources.requests)] {
        for (nth, source) in sources.iter().flatten().enumerate() {
            lists.push(List {
                name: format!("{list}[{nth}]"),
                kind: MarkKind::Activity,
                from: &source.from,
                condition: source.r#where.as_deref(),
                facility: &source.facility,
                others: source
                    .blood_type
                    .iter()
                    .map(String::as_str)
                    .chain([&*source.quantity])
                    .collect(),
                at: TimeKind::parse(&source.at_as).map(|kind| (&*source.at, kind)),
            });
        }
    }
    lists
}
