//! Tests of `json.rs`.

use super::*;

#[test]
fn integers_are_told_from_fractions() {
    for (text, want) in [
        ("5", Json::Integer(5)),
        ("-3", Json::Integer(-3)),
        ("5.0", Json::Number(5.0)),
        ("5e0", Json::Number(5.0)),
        ("99999999999999999999", Json::Number(1e20)),
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(want), "{text}");
    }
}

#[test]
fn a_name_that_stands_twice_is_refused_with_its_line_and_column() {
    let problem = parse(b"{\"a\": 1,\n \"a\": 2}").unwrap_err();
    assert_eq!(problem.status(), 400);
    assert!(
        problem.detail().contains("\"a\" stands twice")
            && problem.detail().contains("line 2 column"),
        "{problem}"
    );
}

#[test]
fn what_no_parser_likes_is_400() {
    let deep = "[".repeat(1_000_000);
    for body in [
        "",
        " ",
        "{",
        "nul",
        "{\"a\":1e999999}",
        "{\"a\":\"\\ud800\"}",
        "[1,]",
        "1 2",
        "\u{feff}{}",
        &deep,
    ] {
        assert_eq!(
            parse(body.as_bytes()).map_err(|p| p.status().as_u16()),
            Err(400),
            "{}",
            Shown(body)
        );
    }
    assert!(parse(b"\"\xff\"").is_err());
    assert!(parse(b"{\"a\": ").unwrap_err().detail().contains("cut off"));
}
