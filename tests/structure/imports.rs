//! A folder of `src` imports only folders that stand below it.

use std::path::Path;

use crate::{ROOT, rust_files, shown, text};

/// The folders from the lowest to the highest, as ARCHITECTURE.md lists them under "The order of
/// the folders".
fn order() -> Vec<String> {
    let document = text(&Path::new(ROOT).join("ARCHITECTURE.md"));
    let section =
        document.split("## The order of the folders").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
}

/// The part of `src` that a file belongs to: its folder, or the file itself.
fn part(path: &Path) -> String {
    let inner = path.strip_prefix(Path::new(ROOT).join("src")).expect("the file is in src");
    let first = inner.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The parts that a text names behind `crate::`, in `use` lines and in paths.
fn imported(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut parts = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => parts.extend(first_names(list)),
            None => parts.extend(name(rest)),
        }
    }
    parts
}

/// The first name of each item of a list in braces, whose opening brace is left out.
fn first_names(list: &str) -> Vec<String> {
    let (mut names, mut depth, mut is_start) = (Vec::new(), 0, true);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            _ if depth == 0 && is_start && !character.is_whitespace() => {
                is_start = false;
                names.extend(name(&list[at..]));
            }
            _ => {}
        }
    }
    names
}

/// The module name at the beginning of a text; `None` where a type or nothing stands there.
fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn the_import_parser_finds_nested_and_plain_imports() {
    let text =
        "use crate::{\n    a::{b, c},\n    d::E,\n    // crate::x\n    f,\n};\nuse crate::g;\n";
    assert_eq!(imported(text), ["a", "d", "f", "g"]);
    assert_eq!(imported("fn f() -> crate::h::I { crate::J }"), ["h"]);
}

#[test]
fn no_folder_imports_one_that_stands_above_it() {
    let order = order();
    let place = |part: &str| order.iter().position(|name| name == part);
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let own = part(&path);
        if matches!(own.as_str(), "lib" | "main") {
            continue;
        }
        let Some(own_place) = place(&own) else {
            wrong.push(format!("{own} is missing in ARCHITECTURE.md"));
            continue;
        };
        for other in imported(&text(&path)) {
            match place(&other) {
                Some(other_place) if other_place <= own_place => {}
                _ => wrong.push(format!("{} imports {other}", shown(&path))),
            }
        }
    }
    assert!(order.len() > 10, "the order was not found: {order:?}");
    assert!(
        wrong.is_empty(),
        "these imports break the order in ARCHITECTURE.md:\n{}",
        wrong.join("\n")
    );
}
