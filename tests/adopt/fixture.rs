//! The files of one owner's schema.

use std::path::{Path, PathBuf};

/// The schema of one owner.
pub struct Fixture {
    pub name: &'static str,
    /// The tables.
    pub schema: String,
    /// Statements that fill them.
    pub data: String,
    /// The mapping, as an operator writes it.
    pub mapping: String,
    /// The rights that the mapping needs; `{role}` stands for the role.
    pub grants: String,
    /// The owner's own query for `(key, day, figure, blood_type, value)`: each facility, its stock
    /// now, and what was delivered and requested on the last seven local days.
    pub owner: String,
    /// What the owner's programs do.
    pub writers: String,
}

/// A column that a migration of the owner renames.
pub struct Rename {
    pub table: String,
    pub from: String,
    pub to: String,
}

impl Fixture {
    pub fn read(name: &'static str) -> Fixture {
        let folder = folder(name);
        let text = |file: &str| {
            let path = folder.join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        Fixture {
            name,
            schema: text("schema.sql"),
            data: text("data.sql"),
            mapping: text("mapping.toml"),
            grants: text("grants.sql"),
            owner: text("owner.sql"),
            writers: text("writers.sql"),
        }
    }

    /// The column that a migration renames: `-- rename TABLE FROM TO` in `writers.sql`.
    pub fn rename(&self) -> Rename {
        let line = self.writers.lines().find_map(|line| line.strip_prefix("-- rename "));
        let mut words = line.expect("a column is renamed").split(' ').map(str::to_owned);
        let mut word = || words.next().expect("three words");
        Rename { table: word(), from: word(), to: word() }
    }

    /// The same after that migration: the owner's programs, the owner's query and the mapping name
    /// the column as it is called now.
    pub fn renamed(&self) -> Fixture {
        let Rename { from, to, .. } = self.rename();
        let now = |text: &str| text.replace(&from, &to);
        Fixture {
            name: self.name,
            schema: self.schema.clone(),
            data: self.data.clone(),
            mapping: now(&self.mapping),
            grants: now(&self.grants),
            owner: now(&self.owner),
            writers: now(&self.writers),
        }
    }
}

impl Rename {
    pub fn statement(&self) -> String {
        format!("ALTER TABLE {} RENAME COLUMN {} TO {}", self.table, self.from, self.to)
    }

    pub fn back(&self) -> String {
        format!("ALTER TABLE {} RENAME COLUMN {} TO {}", self.table, self.to, self.from)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adopt").join(name)
}
