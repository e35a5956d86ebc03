//! The identity of a file: its source, its hash, and the earlier imports that it continues.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    ImportArgs, ImportError,
    columns::{Field, Mapping, Origin},
    identity::{Origins, clean},
};
use crate::store::imports::{Import, NewImport};

/// A rejects file has this in its name, after the name of the file that was imported.
const REJECTS: &str = ".rejects";

/// The longest name of a source, in characters.
const MAX_SOURCE_CHARS: usize = 200;

/// The source that the command line gives, or the file's name without folder and ending. A rejects
/// file has the source of the file that it comes from. Wrong use when the given name is empty or
/// too long, or has control characters.
pub fn source(args: &ImportArgs) -> Result<String, ImportError> {
    if let Some(given) = &args.source {
        let source = clean(given);
        if source.is_empty()
            || source.chars().count() > MAX_SOURCE_CHARS
            || source.chars().any(char::is_control)
        {
            return Err(ImportError::WrongUse(format!(
                "--source {given}: a name of 1 to {MAX_SOURCE_CHARS} characters is right, such as \
                 ward1"
            )));
        }
        return Ok(source);
    }
    let name = file_name(&args.file);
    let of_parent = name.split_once(REJECTS).map_or(name.as_str(), |(parent, _)| parent);
    let stem = of_parent.rsplit_once('.').map_or(of_parent, |(stem, _)| stem);
    let source: String = clean(if stem.is_empty() { of_parent } else { stem })
        .chars()
        .take(MAX_SOURCE_CHARS)
        .collect();
    Ok(if source.is_empty() { "file".to_owned() } else { source })
}

/// Where the rows come from.
pub fn origins(args: &ImportArgs, mapping: &Mapping) -> Result<Origins, ImportError> {
    let quantity_column = match mapping.origin(Field::Quantity) {
        Some(Origin::Columns { named, .. }) => named.clone(),
        _ => String::new(),
    };
    Ok(Origins { kind: args.kind, source: source(args)?, quantity_column })
}

/// The import that is about to begin. Reads the whole file to hash it; fails when it cannot be
/// read.
pub fn new_import(
    args: &ImportArgs,
    command: &str,
    origins: &Origins,
    mapping: &Mapping,
) -> Result<NewImport, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: args.file.clone(), source };
    let sha256 = sha256(&args.file).map_err(unreadable)?;
    let file = sha256.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let same_day = args.same_day.map(|rule| rule.as_str());
    let reading = format!(
        "{} {} {file} {mapping:?} {:?} {:?} {same_day:?}",
        origins.kind.as_str(),
        origins.source,
        args.date_format,
        args.decimal
    );
    Ok(NewImport {
        kind: origins.kind.as_str().to_owned(),
        source: origins.source.clone(),
        file: args.file.display().to_string(),
        sha256,
        quantity_column: origins.quantity_column.clone(),
        fingerprint: format!("{:032x}", xxh3_128(reading.as_bytes())),
        command: command.to_owned(),
    })
}

/// The earlier imports that a rejects file continues: the import that wrote it, and, when that one
/// imported a rejects file too, the import that wrote that one, and so on. When no import is known
/// to have written it, every import of the source with a file of fewer `.rejects` in its name.
/// Empty for any other file.
pub fn parents(new: &NewImport, imports: &[Import]) -> BTreeSet<i32> {
    let depth = |file: &str| file_name(Path::new(file)).matches(REJECTS).count();
    let is_of_it = |i: &&Import| {
        let (it, what) = (&i.what, new);
        i.undone_ms.is_none()
            && it.kind == what.kind
            && it.source == what.source
            && it.quantity_column == what.quantity_column
    };
    let of_source: Vec<&Import> =
        imports.iter().filter(is_of_it).filter(|i| i.what.fingerprint != new.fingerprint).collect();
    let (mut found, mut file) = (BTreeSet::new(), file_name(Path::new(&new.file)));
    while depth(&file) > 0 {
        let wrote: Vec<&&Import> =
            of_source.iter().filter(|i| i.rejects.as_ref() == Some(&file)).collect();
        let Some(parent) = wrote.first() else { break };
        found.extend(wrote.iter().map(|i| i.id));
        file = file_name(Path::new(&parent.what.file));
    }
    if found.is_empty() {
        let depth_of_it = depth(&new.file);
        found.extend(of_source.iter().filter(|i| depth(&i.what.file) < depth_of_it).map(|i| i.id));
    }
    found
}

/// A file's name without its folder.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The hash in hex, as `sha256sum` prints it; `None` for a file that can be read only once, such as
/// a pipe.
fn sha256(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// A command line as a user would type it into a shell.
pub fn command_line(words: impl Iterator<Item = String>) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_./=,:%+@-".contains(c);
    let quoted = |word: String| {
        if !word.is_empty() && word.chars().all(is_plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
