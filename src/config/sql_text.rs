//! The texts of SQL in `[sources]`. Each stands in parentheses inside a statement of the service,
//! so it must not end them, nor hide what comes behind it.

/// Why the text cannot stand in parentheses, and what would be right; `None` where it can.
pub(super) fn fault(sql: &str) -> Option<&'static str> {
    let mut rest = sql;
    let mut open = Vec::new();
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\'' => match quoted(sql, rest) {
                Some(after) => after,
                None => return Some("a text in quotes does not end: close it with '"),
            },
            '"' => match after.split_once('"') {
                Some((_, after)) => after,
                None => return Some("a name in quotes does not end: close it with \""),
            },
            '$' if !ends_in_a_name(sql, rest) => match dollar_quoted(rest) {
                Some(Some(after)) => after,
                Some(None) => return Some("a text between dollar signs does not end"),
                None => after,
            },
            '-' if after.starts_with('-') => match after.split_once('\n') {
                Some((_, after)) => after,
                None => {
                    return Some(
                        "the comment at its end would hide what the service adds: leave it out, \
                         or write it for TOML, with # behind the value",
                    );
                }
            },
            '/' if after.starts_with('*') => match comment(&after[1..]) {
                Some(after) => after,
                None => return Some("a comment does not end: close it with */"),
            },
            '(' | '[' => {
                open.push(c);
                after
            }
            ')' | ']' => match (open.pop(), c) {
                (Some('('), ')') | (Some('['), ']') => after,
                _ => {
                    return Some(
                        "it ends a parenthesis that it did not begin, and what comes behind would \
                         count for every facility: write each ( with its )",
                    );
                }
            },
            ';' => return Some("it must be one expression, without a semicolon"),
            _ => after,
        };
    }
    (!open.is_empty()).then_some("a parenthesis does not end: write each ( with its )")
}

/// Whether a name stands right before `rest`.
fn ends_in_a_name(sql: &str, rest: &str) -> bool {
    sql[..sql.len() - rest.len()].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
}

/// What follows the text in single quotes with which `rest` begins.
fn quoted<'s>(sql: &str, rest: &'s str) -> Option<&'s str> {
    let before = &sql[..sql.len() - rest.len()];
    let has_escapes = before.ends_with(['e', 'E'])
        && !before[..before.len() - 1].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut chars = rest[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if has_escapes => drop(chars.next()),
            // A doubled quote begins another text for this scan, which comes to the same.
            '\'' => return Some(&rest[at + 2..]),
            _ => {}
        }
    }
    None
}

/// What follows the text between dollar signs with which `rest` begins; `None` where that is none.
fn dollar_quoted(rest: &str) -> Option<Option<&str>> {
    let (tag, after) = rest[1..].split_once('$')?;
    let is_tag = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| after.split_once(&format!("${tag}$")).map(|(_, after)| after))
}

/// What follows a comment, whose begin was read. Comments may stand in comments.
fn comment(mut rest: &str) -> Option<&str> {
    let mut depth = 1;
    while depth > 0 {
        let at = rest.find(['*', '/'])?;
        rest = &rest[at..];
        let (length, step) = match rest {
            _ if rest.starts_with("*/") => (2, -1),
            _ if rest.starts_with("/*") => (2, 1),
            _ => (1, 0),
        };
        (rest, depth) = (&rest[length..], depth + step);
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn a_text_that_stays_in_its_parentheses_is_right() {
        for sql in [
            "",
            "a.b",
            "(a OR b) AND c IN ('x)', 'it''s (', \"odd)\".y)",
            "a = E'\\') (' AND b[1] = 2",
            "a = $$)$$ AND b = $tag$ ' ( $tag$ AND $1",
            "a -- one )\n AND b",
            "a /* ( /* ' */ ) */ AND b",
            "a - -b / c * d",
            "a$x$b = 1",
        ] {
            assert_eq!(fault(sql), None, "{sql}");
        }
    }

    #[test]
    fn a_text_that_leaves_its_parentheses_or_hides_what_follows_is_not() {
        for (sql, words) in [
            ("a) OR (b", "did not begin"),
            ("a OR b)", "did not begin"),
            ("(a]", "did not begin"),
            ("(a OR b", "does not end"),
            ("a -- only these", "comment at its end"),
            ("a -- one\n AND b --", "comment at its end"),
            ("a /* b", "close it with */"),
            ("a = 'b", "close it with '"),
            ("\"a", "close it with \""),
            ("a = $x$ b", "does not end"),
            ("a; b", "semicolon"),
            ("nice'a\\' OR ('", "does not end"),
        ] {
            let said = fault(sql);
            assert!(said.is_some_and(|said| said.contains(words)), "{sql}: {said:?}");
        }
    }
}
