//! `adopt init`: writes a first mapping of a database, with its guesses, its reasons and its
//! questions.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    config::Settings,
    store::{
        StoreError,
        postgres::{
            guess_sources::{
                self,
                draft::{Draft, Key, Read, Source, Value},
            },
            plain::{is_odd, one_line},
        },
    },
};

/// What `adopt init` is told.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write the mapping [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// The time zone of all facilities, where the database has none
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<String>,
}

/// The widest line of a comment.
const COLUMNS: usize = 100;
/// How many texts that are no blood type are listed.
const MOST_TEXTS: usize = 20;

fn zone(text: &str) -> Result<String, String> {
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it is no IANA time zone; write one such as Africa/Accra".into()),
    }
}

/// Carries out `adopt init`.
///
/// # Errors
/// The database cannot be read, or the file cannot be written.
pub async fn init(
    args: &InitArgs,
    settings: &Settings,
) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    if !settings.database.is_postgres() {
        return Err("adopt init looks at a database of Postgres: set DATABASE_URL to \
                    postgres://user:password@host/database"
            .into());
    }
    // Before the work, and again when it is written.
    if let Some(path) = args.output.as_deref().filter(|path| !args.force && path.exists()) {
        return Err(is_there(path).into());
    }
    let draft = guess_sources::draft(&settings.database, args.timezone.as_deref()).await?;
    let Some(text) = text(&draft) else {
        return Err(StoreError::Mapping(
            "no table looks like facilities, such as hospitals, clinics, sites or branches, with a \
             key and a name; if one is there under another name, write the mapping by hand, as \
             docs/adopt.md shows"
                .into(),
        )
        .into());
    };
    match &args.output {
        None => print!("{text}"),
        Some(path) => {
            write(path, &text, args.force).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => is_there(path),
                _ => format!("{} cannot be written: {error}", path.display()),
            })?;
            let path = path.display();
            eprintln!(
                "Written to {path}. Answer its questions, then run:\n  facility-summary adopt \
                 check --sources {path}"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_there(path: &Path) -> String {
    format!("{} is there already: name another file, or replace it with --force", path.display())
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)?.write_all(text.as_bytes())
}

/// The mapping as a file; `None` without facilities.
fn text(draft: &Draft) -> Option<String> {
    let facilities = draft.facilities.as_ref()?;
    let mut text = String::new();
    comment(
        &mut text,
        "A first mapping, guessed by `facility-summary adopt init` from names, types, references \
         and some values. Comments with a question mark are questions: answer them, and delete \
         them. The numbers in brackets are of the rows that were looked at. Then let \
         `facility-summary adopt check --sources FILE` say what it reaches, and compare its totals \
         with your own. docs/adopt.md explains every key.",
    );
    text.push('\n');
    of_source(&mut text, facilities);
    for list in ["stock", "deliveries", "requests"] {
        let mut sources = draft.lists.iter().filter(|source| source.list == list).peekable();
        if sources.peek().is_none() {
            comment(
                &mut text,
                &format!(
                    "? No table looks like {list}. Without [[sources.{list}]] the figure is null \
                     in every answer."
                ),
            );
            text.push('\n');
        }
        sources.for_each(|source| of_source(&mut text, source));
    }
    of_blood_types(&mut text, draft);
    if !draft.oddly_named.is_empty() {
        let names = one_line(&draft.oddly_named.join(", "));
        let what = "These names go over several lines, so nothing of them was used:";
        comment(&mut text, &format!("? {what} {names}"));
        text.push('\n');
    }
    of_rights(&mut text, &draft.reads);
    Some(text)
}

fn of_source(text: &mut String, source: &Source) {
    let mut own = String::new();
    let list = source.list;
    match list {
        "facilities" => own += "[sources.facilities]\n",
        _ => writeln!(own, "[[sources.{list}]]").unwrap_or_default(),
    }
    source.reasons.iter().for_each(|reason| comment(&mut own, reason));
    source.keys.iter().for_each(|key| of_key(&mut own, key));
    if source.is_first || list == "facilities" {
        *text += &own;
    } else {
        comment(
            text,
            &format!(
                "? Is this the source of {list} instead, or do both add up? Then take the signs \
                 off its lines."
            ),
        );
        for line in own.lines().filter(|line| !line.starts_with('#')) {
            writeln!(text, "#{line}").unwrap_or_default();
        }
    }
    text.push('\n');
}

fn of_key(text: &mut String, key: &Key) {
    for question in &key.questions {
        comment(text, &format!("? {question}"));
    }
    let value = match &key.value {
        Value::Flag(flag) => flag.to_string(),
        // Only our own joins go over several lines: they have names, and no values.
        Value::Text(value) if key.name != "from" && value.contains(is_odd) => escaped(value),
        Value::Text(value) => quoted(value),
    };
    let line = format!("{} = {value}", key.name);
    let sign = if key.is_proposal { "#" } else { "" };
    for line in line.lines() {
        writeln!(text, "{sign}{line}").unwrap_or_default();
    }
}

fn of_blood_types(text: &mut String, draft: &Draft) {
    if draft.notations.is_empty() {
        return;
    }
    *text += "[sources.blood_types]\n";
    comment(text, "? Texts that are no usual notation: what do they stand for?");
    let (known, other): (Vec<_>, Vec<_>) =
        draft.notations.iter().partition(|(_, blood_type)| blood_type.is_some());
    for (notation, blood_type) in known {
        let of = blood_type.map_or("", |blood_type| blood_type.as_str());
        writeln!(text, "{} = \"{of}\"", escaped(notation)).unwrap_or_default();
    }
    for (notation, _) in other.into_iter().take(MOST_TEXTS) {
        writeln!(text, "#{} = \"\"", escaped(notation)).unwrap_or_default();
    }
    text.push('\n');
}

fn of_rights(text: &mut String, reads: &[Read]) {
    comment(text, "The role of the service needs these rights, and no others on your tables:");
    let mut schemas: Vec<&str> = reads.iter().map(|read| read.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas {
        writeln!(text, "# GRANT USAGE ON SCHEMA {} TO facility_summary;", one_line(schema))
            .unwrap_or_default();
    }
    for Read { table, columns, is_allowed, .. } in reads {
        let columns = one_line(&columns.join(", "));
        let note = if *is_allowed { "" } else { " -- this role has it not" };
        writeln!(
            text,
            "# GRANT SELECT ({columns}) ON {} TO facility_summary;{note}",
            one_line(table)
        )
        .unwrap_or_default();
    }
}

/// Writes a comment, with breaks between words.
fn comment(text: &mut String, what: &str) {
    let is_apart = plain(what).trim_start().starts_with("GRANT");
    let mut line = String::from(if is_apart { "# " } else { "#" });
    for word in plain(what).split(' ').filter(|word| !word.is_empty()) {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(text, "{line}").unwrap_or_default();
            // A line that begins with GRANT is one of the rights: docs/adopt.md runs those.
            let is_apart = what.starts_with('?') || word.starts_with("GRANT");
            line = String::from(if is_apart { "#  " } else { "#" });
        }
        line.push(' ');
        line += word;
    }
    writeln!(text, "{line}").unwrap_or_default();
}

/// A text of the database without what would end a comment, or move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if is_odd(c) { ' ' } else { c }).collect()
}

/// A text as TOML writes it, in the quotes that need no signs before those of SQL.
fn quoted(text: &str) -> String {
    let needs_escapes = text.contains(|c| (is_odd(c) && c != '\n') || c == '\\');
    let is_line = !text.contains('\n');
    let (single, double) = (text.contains('\''), text.contains('"'));
    match () {
        () if needs_escapes => escaped(text),
        () if is_line && !double => format!("\"{text}\""),
        () if is_line && !single => format!("'{text}'"),
        () if !text.contains("'''") && !text.ends_with('\'') => format!("'''{text}'''"),
        () if !text.contains("\"\"\"") && !text.ends_with('"') => format!("\"\"\"{text}\"\"\""),
        () => escaped(text),
    }
}

fn escaped(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_odd(c) => write!(quoted, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_from_the_file() {
        for text in [
            "public.bag b",
            "public.\"Bag\" b",
            "b.\"State\" IN ('A', 'B')",
            "b.\"State\" = 'A'",
            "b.state = 'A\\B'",
            "public.bag b\nJOIN public.\"Store\" s ON s.id = b.store",
            "'''\"\"\"",
            "a\tb\u{7f}'",
            "",
        ] {
            for quoted in [quoted(text), escaped(text)] {
                let table: toml::Table = format!("x = {quoted}").parse().expect(&quoted);
                assert_eq!(table["x"].as_str(), Some(text), "{quoted}");
            }
        }
    }

    #[test]
    fn a_comment_of_the_database_stays_a_comment() {
        let mut text = String::new();
        comment(&mut text, "one\n[sources.facilities]\r\u{1b}[2J two");
        assert_eq!(text, "# one [sources.facilities] [2J two\n");
    }

    #[test]
    fn no_comment_or_value_of_the_database_makes_a_line_that_looks_like_a_right() {
        let mut text = String::new();
        let grant = "GRANT pg_write_server_files TO mallory;";
        comment(&mut text, &format!("{} {grant}", "x".repeat(97)));
        comment(&mut text, grant);
        for end in ["\n# ", "\r# ", "\u{2028}# ", "\n "] {
            comment(&mut text, &format!("odd{end}{grant}"));
            let value = Value::Text(format!("h.state = 'odd{end}{grant}'"));
            of_key(&mut text, &Key { name: "where", value, questions: vec![], is_proposal: true });
        }
        let looks = |line: &&str| line.starts_with("# GRANT");
        assert_eq!(text.split(['\n', '\r', '\u{2028}']).find(looks), None, "{text}");
    }
}
