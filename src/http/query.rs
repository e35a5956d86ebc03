//! Query strings, read strictly: an unknown, repeated or unreadable parameter is a 400 that names it. A misspelt filter that is
//! quietly ignored shows figures that nobody asked for.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};

use super::{json::Shown, percent, problem::Problem};

/// Reads `query` (without its `?`) into `T`, whose fields bear the names in `known`. Lists are separated by commas. 400 otherwise.
pub fn parse<T: DeserializeOwned>(query: &str, known: &[&str]) -> Result<T, Problem> {
    let mut params: Vec<(String, Param)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decode = |text| percent::decode(text, true).map(|decoded| decoded.into_owned());
        let name =
            decode(name).map_err(|wrong| Problem::bad_request(format!("The query parameter {} cannot be read: {wrong}.", Shown(name))))?;
        if !known.contains(&name.as_str()) {
            return Err(unknown(&name, known));
        }
        if params.iter().any(|(other, _)| *other == name) {
            return Err(Problem::bad_request(format!("The query parameter `{name}` was sent twice; expected it once.")));
        }
        let value =
            decode(value).map_err(|wrong| Problem::bad_request(format!("The query parameter `{name}` cannot be read: {wrong}.")))?;
        params.push((name.clone(), Param { name, value }));
    }
    T::deserialize(MapDeserializer::new(params.into_iter())).map_err(|Wrong(detail)| Problem::bad_request(detail))
}

/// 400 for a value that is well-formed, but not one that the parameter takes; `expected` continues "expected …".
pub fn invalid(name: &str, value: impl fmt::Display, expected: impl fmt::Display) -> Problem {
    Problem::bad_request(wrong_value(name, &value.to_string(), expected))
}

fn wrong_value(name: &str, value: &str, expected: impl fmt::Display) -> String {
    format!("The query parameter `{name}` is {}; expected {expected}.", Shown(value))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name = Shown(name);
    Problem::bad_request(match known {
        [] => format!("The query parameter {name} is unknown; this resource takes none."),
        known => format!("The query parameter {name} is unknown; known here: {}.", known.join(", ")),
    })
}

/// The sentence that the client reads.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Wrong(format!("one of {}", expected.join(", ")))
    }

    fn invalid_value(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Wrong(expected.to_string())
    }

    fn invalid_type(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Wrong(expected.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Wrong(format!("The query parameter `{field}` is missing."))
    }
}

/// One decoded parameter, which knows its name so that an error can say it.
struct Param {
    name: String,
    value: String,
}

impl Param {
    fn number<N: std::str::FromStr>(&self, least: impl fmt::Display, most: impl fmt::Display) -> Result<N, Wrong> {
        self.value.parse().map_err(|_| Wrong(wrong_value(&self.name, &self.value, format_args!("a whole number from {least} to {most}"))))
    }
}

impl IntoDeserializer<'_, Wrong> for Param {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $number:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            visitor.$visit(self.number($number::MIN, $number::MAX)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Param {
    type Error = Wrong;

    whole_numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(&self.value).map_err(|Wrong(expected)| Wrong(wrong_value(&self.name, &self.value, expected)))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            value => Err(Wrong(wrong_value(&self.name, value, "true or false"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let plain: de::value::StrDeserializer<'_, Wrong> = self.value.as_str().into_deserializer();
        plain.deserialize_enum(name, variants, visitor).map_err(|Wrong(expected)| Wrong(wrong_value(&self.name, &self.value, expected)))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let parts = self.value.split(',').map(|part| Param { name: self.name.clone(), value: part.to_owned() });
        visitor.visit_seq(de::value::SeqDeserializer::new(parts))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Sort {
        Name,
        #[serde(rename = "-total_stock")]
        StockFirst,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Query {
        q: Option<String>,
        limit: Option<u32>,
        sort: Option<Sort>,
        #[serde(default)]
        metric: Vec<String>,
        id: Option<Uuid>,
    }

    fn read(query: &str) -> Result<Query, Problem> {
        parse(query, &["q", "limit", "sort", "metric", "id"])
    }

    #[test]
    fn parameters_are_decoded_and_typed() {
        let query = read("q=%C5%81%C3%B3d%C5%BA+2&limit=500&&sort=-total_stock&metric=stock,requests").unwrap();
        let metric = vec!["stock".to_owned(), "requests".to_owned()];
        assert_eq!(query, Query { q: Some("Łódź 2".into()), limit: Some(500), sort: Some(Sort::StockFirst), metric, id: None });
        assert_eq!(read("").unwrap(), Query::default());
        assert_eq!(read("q").unwrap().q.as_deref(), Some(""));
    }

    #[test]
    fn every_refusal_names_the_parameter_and_what_would_be_right() {
        for (query, words) in [
            ("limits=5", &["\"limits\" is unknown", "q, limit, sort"][..]),
            ("limit=5&limit=5", &["`limit` was sent twice"]),
            ("limit=abc", &["`limit` is \"abc\"", "from 0 to 4294967295"]),
            ("limit=-1", &["`limit` is \"-1\""]),
            ("limit=99999999999", &["`limit` is \"99999999999\""]),
            ("limit=", &["`limit` is \"\""]),
            ("sort=size", &["`sort` is \"size\"", "one of name, -total_stock"]),
            ("id=7", &["`id` is \"7\""]),
            ("q=%zz", &["`q` cannot be read", "hexadecimal"]),
            ("q=%ff", &["`q` cannot be read", "UTF-8"]),
            ("%=1", &["\"%\" cannot be read"]),
            ("=1", &["\"\" is unknown"]),
            ("limit%00=1", &["is unknown"]),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(words.iter().all(|word| problem.detail().contains(word)), "{query}: {}", problem.detail());
        }
    }

    #[test]
    fn a_required_parameter_is_missed_by_name() {
        #[derive(Debug, Deserialize)]
        struct Required {
            #[expect(dead_code)]
            at: String,
        }
        assert_eq!(parse::<Required>("", &["at"]).unwrap_err().detail(), "The query parameter `at` is missing.");
    }
}
