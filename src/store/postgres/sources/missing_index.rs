//! Which index a refresh lacks that reads a table as a whole: on the columns that lead to the
//! facility, and on the time where it is in the same table. Where the mapping's text does not say
//! it plainly, no index is named.

use std::collections::{BTreeMap, VecDeque};

/// A column with the alias of its table, both as the server knows them.
type Named = (String, String);

/// The columns of the index for the table with this alias, as SQL writes them.
pub(super) fn columns(
    from: &str,
    facility: &str,
    at: Option<&str>,
    alias: &str,
) -> Option<Vec<String>> {
    let root = one_column(facility)?;
    let pairs = equal_pairs(&tokens(from));
    // The planner calls partitions by the alias of their root, with a number.
    let is_known =
        |alias: &str| root.0 == alias || pairs.iter().any(|(a, b)| a.0 == alias || b.0 == alias);
    let of_root = alias.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let alias = if is_known(alias) { alias } else { of_root };
    let mut columns = match alias == root.0 {
        true => vec![root.1],
        false => towards(&pairs, alias, &root.0)?,
    };
    if let Some((of, time)) = at.and_then(one_column)
        && of == alias
        && !columns.contains(&time)
    {
        columns.push(time);
    }
    Some(columns.iter().map(|column| written(column)).collect())
}

/// The columns by which a table is joined to the one that is nearer to the facility.
fn towards(pairs: &[(Named, Named)], alias: &str, root: &str) -> Option<Vec<String>> {
    // From the facility outwards: the first table that reaches another is the nearer one.
    let mut nearer: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([root]);
    while let Some(at) = queue.pop_front() {
        for (a, b) in pairs.iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            if a.0 == at && b.0 != root && !nearer.contains_key(b.0.as_str()) {
                nearer.insert(&b.0, at);
                queue.push_back(&b.0);
            }
        }
    }
    let nearer = nearer.get(alias)?;
    let both = pairs.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    let own = both.filter(|(a, b)| a.0 == alias && b.0 == *nearer);
    let columns: Vec<String> = own.map(|(a, _)| a.1.clone()).collect();
    (!columns.is_empty()).then_some(columns)
}

/// The column, where the expression is nothing else.
fn one_column(expression: &str) -> Option<Named> {
    let tokens = tokens(expression);
    let (named, rest) = column(&tokens)?;
    rest.is_empty().then_some(named)
}

/// All `a.x = b.y`.
fn equal_pairs(tokens: &[Token]) -> Vec<(Named, Named)> {
    let mut pairs = Vec::new();
    for at in 0..tokens.len() {
        // `a.b.c` begins only once.
        if at > 0 && tokens[at - 1] == Token::Sign('.') {
            continue;
        }
        if let Some((left, [Token::Sign('='), rest @ ..])) = column(&tokens[at..])
            && let Some((right, _)) = column(rest)
            && left.0 != right.0
        {
            pairs.push((left, right));
        }
    }
    pairs
}

/// The column that stands at the beginning, with its table's alias or name, and what follows.
fn column(tokens: &[Token]) -> Option<(Named, &[Token])> {
    let [Token::Name(first), Token::Sign('.'), Token::Name(second), rest @ ..] = tokens else {
        return None;
    };
    match rest {
        [Token::Sign('.'), Token::Name(third), rest @ ..] => {
            Some(((second.clone(), third.clone()), rest))
        }
        _ => Some(((first.clone(), second.clone()), rest)),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An identifier, as the server knows it.
    Name(String),
    /// Any other sign.
    Sign(char),
}

/// The identifiers and signs of a text of SQL. Literals are a sign.
fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                let mut name = String::new();
                while let Some(c) = rest.next() {
                    if c == '"' && rest.next_if_eq(&'"').is_none() {
                        break;
                    }
                    name.push(c);
                }
                tokens.push(Token::Name(name));
            }
            '\'' => {
                while rest.next().is_some_and(|c| c != '\'') {}
                tokens.push(Token::Sign('\''));
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut name: String = c.to_lowercase().collect();
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || "_$".contains(*c)) {
                    name.extend(c.to_lowercase());
                }
                tokens.push(Token::Name(name));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Sign(c)),
        }
    }
    tokens
}

/// A column as SQL writes it.
fn written(column: &str) -> String {
    let is_plain = column.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !column.starts_with(|c: char| c.is_ascii_digit());
    if is_plain { column.to_owned() } else { super::super::home::quoted(column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_on_what_leads_to_the_facility_and_on_the_time_of_the_same_table() {
        let three = "public.bag b JOIN public.slot s ON (s.id = b.slot_id) JOIN public.\"Ward\" w \
                     ON w.\"Id\" = s.\"wardId\" LEFT JOIN public.types g ON g.id = b.type_id";
        for (from, facility, at, alias, expected) in [
            (
                "public.m m",
                "m.hospital_id",
                Some("m.\"At\""),
                "m",
                Some(&["hospital_id", "\"At\""][..]),
            ),
            ("public.m m", "M.Hospital_ID", None, "m", Some(&["hospital_id"])),
            ("public.m m", "m.hospital_id", Some("m.a + m.b"), "m_12", Some(&["hospital_id"])),
            ("public.m", "public.m.h", Some("public.m.t"), "m", Some(&["h", "t"])),
            ("public.m m", "coalesce(m.a, m.b)", None, "m", None),
            (three, "w.facility", None, "b", Some(&["slot_id"])),
            (three, "w.facility", Some("b.at"), "b", Some(&["slot_id", "at"])),
            (three, "w.facility", Some("b.at"), "s", Some(&["\"wardId\""])),
            (three, "w.facility", None, "w", Some(&["facility"])),
            (three, "w.facility", None, "g", Some(&["id"])),
            (three, "w.facility", None, "x", None),
        ] {
            let found = columns(from, facility, at, alias);
            let found: Option<Vec<&str>> =
                found.as_ref().map(|columns| columns.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expected, "{facility} of {alias} in {from}");
        }
    }
}
