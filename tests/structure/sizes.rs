//! Files, functions and lines have a greatest length. A longer file is split by its subjects.

use crate::{rust_files, shown, text};

const MOST_LINES_IN_A_FILE: usize = 400;
const MOST_LINES_IN_A_FUNCTION: usize = 70;
const MOST_COLUMNS: usize = 100;
const FOLDERS: [&str; 4] = ["src", "tests", "fuzz/fuzz_targets", "load-tests/src"];

/// Each file of the project, with its lines. `tests/last_release` holds what was released.
fn each_file(mut look: impl FnMut(&str, &[&str])) {
    for path in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        let text = text(&path);
        look(&shown(&path), &text.lines().collect::<Vec<_>>());
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    let mut long = Vec::new();
    each_file(|path, lines| {
        if lines.len() > MOST_LINES_IN_A_FILE {
            long.push(format!("{path}: {} lines", lines.len()));
        }
    });
    assert!(long.is_empty(), "split these by their subjects:\n{}", long.join("\n"));
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    let mut long = Vec::new();
    each_file(|path, lines| {
        for (number, line) in lines.iter().enumerate() {
            let columns = line.chars().count();
            if columns > MOST_COLUMNS {
                long.push(format!("{path}:{}: {columns} columns", number + 1));
            }
        }
    });
    assert!(long.is_empty(), "break these:\n{}", long.join("\n"));
}

#[test]
fn no_function_is_longer_than_seventy_lines() {
    let mut long = Vec::new();
    each_file(|path, lines| {
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let opens = lines[start..].iter().find(|line| line.ends_with(['{', ';']));
            if opens.is_none_or(|line| line.ends_with(';')) {
                continue; // a method of a trait, without a body
            }
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|line| *line == end).map_or(0, |n| n + 1);
            if length > MOST_LINES_IN_A_FUNCTION {
                long.push(format!("{path}:{}: {length} lines", start + 1));
            }
        }
    });
    assert!(
        long.is_empty(),
        "these functions are too long; split each by what it does:\n{}",
        long.join("\n")
    );
}

/// Whether a line begins a function with a body of its own: formatted code ends it with a brace at
/// the same indentation.
fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || ["async", "const", "unsafe", "super)"].contains(word)
    });
    words.next() == Some("fn") && !line.ends_with(';') && !line.ends_with('}')
}
