//! Notes what a part of an import writes, in the same transaction.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::event::{EntityKind, Event, Record, Statement},
    store::{
        self, LastCounted, Transaction,
        imports::{Hidden, ImportedRow},
    },
};

/// The import that a set of events belongs to.
#[derive(Debug, Clone)]
pub struct ImportPart {
    /// The number of the import.
    pub import: i32,
    /// Known facilities that it refers to or confirms, with `store::imports::MENTIONED` or
    /// `CONFIRMED`.
    pub facilities: Vec<(Uuid, i64)>,
}

/// The records that the events are about, before and after the events.
#[derive(Clone, Copy)]
pub struct RecordChanges<'a> {
    /// The records before the events.
    pub before: &'a HashMap<(EntityKind, Uuid), Record>,
    /// The records after the events.
    pub now: &'a HashMap<(EntityKind, Uuid), Record>,
    /// Where removed entities counted last.
    pub last_counted: &'a HashMap<(EntityKind, Uuid), LastCounted>,
}

impl ImportPart {
    /// Notes these events; each comes with whether it changed anything.
    pub async fn write<'e>(
        &self,
        tx: &mut dyn Transaction,
        events: impl Iterator<Item = (&'e Event, &'e bool)>,
        known: RecordChanges<'_>,
    ) -> store::Result<()> {
        let mut rows: HashMap<Uuid, ImportedRow> = HashMap::new();
        for (event, applied) in events {
            let Event::Statement(statement) = event else { continue };
            let row = self.row(statement, *applied, known);
            match rows.get_mut(&statement.id) {
                // Of several events about one row, the last that counts, with what was there before
                // the first.
                Some(noted) if row.wrote => {
                    (noted.content, noted.wrote, noted.hidden) = (row.content, true, row.hidden)
                }
                Some(_) => {}
                None => drop(rows.insert(statement.id, row)),
            }
        }
        for (id, content) in &self.facilities {
            let claim = ImportedRow {
                row_id: *id,
                import_id: self.import,
                content: *content,
                is_facility: true,
                wrote: false,
                hidden: None,
            };
            rows.entry(*id).or_insert(claim);
        }
        let mut rows: Vec<ImportedRow> = rows.into_values().collect();
        self.keep_what_was_hidden(tx, &mut rows).await?;
        rows.sort_unstable_by_key(|row| row.row_id);
        if rows.is_empty() { Ok(()) } else { tx.note_rows(&rows).await }
    }

    fn row(&self, statement: &Statement, applied: bool, known: RecordChanges<'_>) -> ImportedRow {
        let Statement { kind, id, record } = statement;
        let key = (*kind, *id);
        let hidden = if applied {
            let last_counted = |before: &Record| {
                known.last_counted.get(&key).copied().filter(|_| before.entity.is_none())
            };
            known
                .before
                .get(&key)
                .map(|before| Hidden { record: before.clone(), last_counted: last_counted(before) })
        } else {
            let is_there = known.now.get(&key) == Some(record);
            (!is_there).then(|| Hidden { record: record.clone(), last_counted: None })
        };
        ImportedRow {
            row_id: *id,
            import_id: self.import,
            content: record.fingerprint(),
            is_facility: *kind == EntityKind::Facility,
            wrote: applied,
            hidden,
        }
    }

    /// When this import replaces what an earlier run of it wrote: what was there before that run is
    /// what was there before the import.
    async fn keep_what_was_hidden(
        &self,
        tx: &mut dyn Transaction,
        rows: &mut [ImportedRow],
    ) -> store::Result<()> {
        let over: Vec<Uuid> = rows
            .iter()
            .filter(|row| row.wrote && row.hidden.is_some())
            .map(|row| row.row_id)
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        let noted = tx.noted_rows(&over).await?;
        let own: HashMap<Uuid, ImportedRow> = noted
            .into_iter()
            .filter(|n| n.import_id == self.import && n.wrote)
            .map(|n| (n.row_id, n))
            .collect();
        for row in rows {
            let written_by_us = |own: &&ImportedRow| {
                row.hidden.as_ref().is_some_and(|hidden| hidden.record.fingerprint() == own.content)
            };
            if let Some(own) = own.get(&row.row_id).filter(|own| row.wrote && written_by_us(own)) {
                row.hidden = own.hidden.clone();
            }
        }
        Ok(())
    }
}
