//! Files as people save them: names, ids, numbers and rows that are nearly right, and files that
//! are not CSV.

mod facility_names;
mod files;
mod rows;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    ImportError, ImportTarget, Part,
    recorder::Recorder,
    tests::{import, writable},
};
use crate::domain::event::{Entity, EntityKind, Record, Statement};

const REQUESTS: &str = "--columns created_at=at,facility=to,quantity=n";

/// Imports a small file, and returns the report in words, or the error.
async fn told(
    target: &Recorder,
    kind: &str,
    content: &str,
    options: &str,
) -> Result<String, ImportError> {
    let (_folder, file) = writable("file.csv", Some(content));
    import(target, kind, &file, options).await.map(|report| report.to_string())
}

/// Imports a small file that must fail, and returns the error.
async fn refused(kind: &str, content: &str, options: &str) -> ImportError {
    told(&Recorder::default(), kind, content, options).await.unwrap_err()
}

/// The names of all registered facilities.
fn names(target: &Recorder) -> BTreeSet<String> {
    target.facility_rows().into_iter().map(|row| row.name).collect()
}

/// Registers a facility, as an earlier release or another program may have done it.
async fn registered(target: &Recorder, id: Uuid, name: &str) {
    let entity = Entity::Facility { name: name.to_owned(), timezone: "UTC".to_owned() };
    let record = Record { event_time_ms: 0, entity: Some(entity) };
    target
        .apply(
            Part { import: 1, dry_run: false },
            vec![Statement { kind: EntityKind::Facility, id, record }],
            Vec::new(),
        )
        .await
        .unwrap();
}
