//! The tests that documents name exist.

use std::path::Path;

use crate::{ROOT, text};

const DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "SECURITY.md"];

/// Each `file.rs::test` of a document, without line breaks within it.
fn named(document: &str) -> Vec<(String, String)> {
    let spans = document.split('`').skip(1).step_by(2);
    let paths = spans.filter_map(|span| span.trim().split_once(".rs::"));
    paths.map(|(file, test)| (format!("{file}.rs"), test.to_owned())).collect()
}

#[test]
fn each_test_that_a_document_names_exists() {
    let (mut missing, mut count) = (Vec::new(), 0);
    for document in DOCUMENTS {
        for (file, test) in named(&text(&Path::new(ROOT).join(document))) {
            count += 1;
            // A path is in `tests/api/` unless it begins with another folder of the project.
            let folder = if ["src/", "tests/"].iter().any(|part| file.starts_with(part)) {
                Path::new(ROOT).to_owned()
            } else {
                Path::new(ROOT).join("tests/api")
            };
            // The tests of a file of the source may stand beside it.
            let beside = folder.join(file.replace(".rs", "_tests.rs"));
            let is_there = [folder.join(&file), beside].iter().any(|path| {
                std::fs::read_to_string(path)
                    .is_ok_and(|text| text.contains(&format!("fn {test}(")))
            });
            if !is_there {
                missing.push(format!("{document}: {file}::{test}"));
            }
        }
    }
    assert!(count > 50, "only {count} tests were found: are they written in another way?");
    assert!(missing.is_empty(), "these do not exist:\n{}", missing.join("\n"));
}
