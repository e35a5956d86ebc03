//! Finds the ids of rows that have none in the file, and which of the rows are known already.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::{
    ImportError, ImportTarget,
    identity::{Origins, row_id},
    translate::{Draft, RowIdentity},
};
use crate::{
    domain::event::{Entity, EntityKind, Record, Statement},
    store::imports::{EqualRows, Import},
};

/// How many occurrences of a row one query asks for.
const AT_ONCE: u32 = 4;

/// Finds the ids of rows, and counts the rows that are known.
pub struct Identifier {
    /// Where the rows of the file come from.
    pub origins: Origins,
    /// The kind of its rows.
    pub kind: EntityKind,
    /// For a file of rejected rows: the imports that it continues. Their rows count first. So a row
    /// that was corrected, and now equals a row of them, is another row.
    pub parents: BTreeSet<i32>,
    /// All earlier imports, by number.
    pub imports: HashMap<i32, Import>,
    /// Rows that equal rows of other sources, by source.
    pub equal: BTreeMap<String, u64>,
    /// Rows that were imported by a release that kept no sources.
    pub legacy: u64,
}

/// Rows with their ids.
pub struct Identified {
    /// The statements of the rows.
    pub statements: Vec<Statement>,
    /// Positions of the statements that only repeat an earlier row of the file.
    pub repeated: HashSet<usize>,
}

impl Identifier {
    /// Gives each row its id. Fails when the target does.
    pub async fn identify(
        &mut self,
        drafts: Vec<Draft>,
        target: &dyn ImportTarget,
    ) -> Result<Identified, ImportError> {
        let before = self.occurrences_before(&drafts, target).await?;
        let by_content = |draft: &Draft| match &draft.name {
            RowIdentity::Own { .. } => None,
            RowIdentity::ByContent { content, occurrence, legacy } => {
                let occurrence = occurrence + before.get(content).copied().unwrap_or(0);
                Some((row_id(content, occurrence), *legacy, occurrence))
            }
        };
        let named: Vec<(Uuid, Uuid, u32)> = drafts.iter().filter_map(by_content).collect();
        let has_others = self.imports.values().any(|import| self.is_another_source(import));
        let mut known = HashSet::new();
        if !named.is_empty() {
            known = target
                .rows_in(self.kind, &named.iter().map(|(_, legacy, _)| *legacy).collect::<Vec<_>>())
                .await?;
            if has_others || !known.is_empty() {
                known.extend(
                    target
                        .rows_in(self.kind, &named.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
                        .await?,
                );
            }
        }
        let legacy = self.legacy_rows(named.into_iter(), &known, target).await?;
        let mut found =
            Identified { statements: Vec::with_capacity(drafts.len()), repeated: HashSet::new() };
        let mut fresh: HashMap<i64, EqualRows> = HashMap::new();
        for draft in drafts {
            let id = match (by_content(&draft), &draft.name) {
                (Some((id, old, occurrence)), _) => {
                    if legacy.contains(&old) {
                        self.legacy += 1;
                        old
                    } else {
                        if has_others && !known.contains(&id) {
                            let equal = fresh
                                .entry(draft.record.fingerprint())
                                .or_insert_with(|| says(&draft.record, occurrence));
                            equal.count += 1;
                        }
                        id
                    }
                }
                (None, RowIdentity::Own { id, repeated }) => {
                    if *repeated {
                        found.repeated.insert(found.statements.len());
                    }
                    *id
                }
                (None, RowIdentity::ByContent { .. }) => continue,
            };
            found.statements.push(Statement { kind: self.kind, id, record: draft.record });
        }
        if !fresh.is_empty() {
            let fresh: Vec<EqualRows> = fresh.into_values().collect();
            for (source, rows) in target.equal_rows(self.kind, &self.origins.source, &fresh).await?
            {
                *self.equal.entry(source).or_default() += rows;
            }
        }
        Ok(found)
    }

    fn is_another_source(&self, import: &Import) -> bool {
        import.undone_ms.is_none()
            && import.what.kind == self.origins.kind.as_str()
            && import.what.source != self.origins.source
    }

    /// The ids under which a release that kept no sources has imported these rows. The source of
    /// such a row is unknown until an import with a source claims it.
    async fn legacy_rows(
        &self,
        rows: impl Iterator<Item = (Uuid, Uuid, u32)>,
        known: &HashSet<Uuid>,
        target: &dyn ImportTarget,
    ) -> Result<HashSet<Uuid>, ImportError> {
        let mut legacy: HashSet<Uuid> = rows
            .filter(|(id, old, _)| known.contains(old) && !known.contains(id))
            .map(|(_, old, _)| old)
            .collect();
        if legacy.is_empty() {
            return Ok(legacy);
        }
        let Origins { source, quantity_column, .. } = &self.origins;
        for (row, import) in target.claims(&legacy.iter().copied().collect::<Vec<_>>()).await? {
            let is_ours = self.imports.get(&import).is_none_or(|i| {
                i.what.source == *source && i.what.quantity_column == *quantity_column
            });
            if !is_ours || self.parents.contains(&import) {
                legacy.remove(&row);
            }
        }
        Ok(legacy)
    }

    /// For a file of rejected rows: how many rows of each content the imports that it continues
    /// have written.
    async fn occurrences_before(
        &self,
        drafts: &[Draft],
        target: &dyn ImportTarget,
    ) -> Result<HashMap<String, u32>, ImportError> {
        let mut before: HashMap<String, u32> = HashMap::new();
        if self.parents.is_empty() {
            return Ok(before);
        }
        let mut open: BTreeSet<&String> = drafts
            .iter()
            .filter_map(|draft| match &draft.name {
                RowIdentity::ByContent { content, .. } => Some(content),
                RowIdentity::Own { .. } => None,
            })
            .collect();
        while !open.is_empty() {
            let counted = |content: &String| before.get(content).copied().unwrap_or(0);
            let asked: Vec<Uuid> = open
                .iter()
                .flat_map(|content| (0..AT_ONCE).map(|n| row_id(content, counted(content) + n)))
                .collect();
            let claims = target.claims(&asked).await?;
            let there: HashSet<Uuid> = claims
                .into_iter()
                .filter(|(_, import)| self.parents.contains(import))
                .map(|(row, _)| row)
                .collect();
            open.retain(|content| {
                let count = before.entry((*content).clone()).or_default();
                let more = (0..AT_ONCE)
                    .take_while(|n| there.contains(&row_id(content, *count + n)))
                    .count() as u32;
                *count += more;
                more == AT_ONCE
            });
        }
        Ok(before)
    }
}

/// The values by which rows of different sources are compared.
fn says(record: &Record, before: u32) -> EqualRows {
    let (facility_id, at_ms, blood_type, quantity) = match &record.entity {
        Some(Entity::Distribution {
            dispatched_to_id,
            date_delivered_ms,
            blood_type,
            quantity,
        }) => (
            *dispatched_to_id,
            date_delivered_ms.unwrap_or(record.event_time_ms),
            *blood_type,
            Some(*quantity),
        ),
        Some(Entity::Request { facility_id, created_at_ms, blood_type, quantity }) => {
            (*facility_id, *created_at_ms, *blood_type, *quantity)
        }
        _ => (Uuid::nil(), record.event_time_ms, None, None),
    };
    EqualRows { facility_id, at_ms, blood_type, quantity, before, count: 0 }
}
