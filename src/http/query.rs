//! Strict reading of query strings: an unknown, repeated or unreadable parameter is a 400 that
//! names it. If a misspelt filter were ignored, the answer would show figures that the client did
//! not ask for.

use std::fmt;

use jiff::civil::Date;
use serde::{
    de::{
        self, DeserializeOwned, Deserializer, IgnoredAny, IntoDeserializer, Visitor,
        value::MapDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{field_rules, json::Shown, percent, problem::Problem};

/// Reads `query` (without its `?`) into `T`; `known` lists the names of the fields of `T`. The
/// items of lists are separated by commas. 400 for a query that cannot be read.
pub fn parse<T: DeserializeOwned>(query: &str, known: &[&str]) -> Result<T, Problem> {
    parse_with_lists(query, known, &[])
}

/// The same, where the parameters in `lists` may be sent several times: each one is an item.
pub fn parse_with_lists<T: DeserializeOwned>(
    query: &str,
    known: &[&str],
    lists: &[&str],
) -> Result<T, Problem> {
    let mut params: Vec<(String, Param)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decode = |text| percent::decode(text, true).map(|decoded| decoded.into_owned());
        let name = decode(name).map_err(|wrong| {
            Problem::bad_request(format!(
                "The query parameter {} cannot be read: {wrong}.",
                Shown(name)
            ))
        })?;
        if !known.contains(&name.as_str()) {
            return Err(unknown(&name, known));
        }
        let earlier = params.iter_mut().find(|(other, _)| *other == name);
        if earlier.is_some() && !lists.contains(&name.as_str()) {
            return Err(Problem::bad_request(format!(
                "The query parameter `{name}` was sent twice; expected it once."
            )));
        }
        let value = decode(value).map_err(|wrong| {
            Problem::bad_request(format!("The query parameter `{name}` cannot be read: {wrong}."))
        })?;
        match earlier {
            Some((_, list)) => {
                list.value.push(',');
                list.value.push_str(&value);
            }
            None => params.push((name.clone(), Param { name, value })),
        }
    }
    T::deserialize(MapDeserializer::new(params.into_iter()))
        .map_err(|wrong| Problem::bad_request(wrong.to_string()))
}

/// For resources without parameters: 400 for any parameter.
pub fn none(query: &str) -> Result<(), Problem> {
    parse::<IgnoredAny>(query, &[]).map(drop)
}

/// A 400 for a value that is well-formed but not allowed. `expected` continues the words "expected
/// …".
pub fn invalid(name: &str, value: impl fmt::Display, expected: impl fmt::Display) -> Problem {
    Problem::bad_request(wrong_value(name, &value.to_string(), expected))
}

/// For `#[serde(default, deserialize_with = "query::date")]` on an `Option<Date>`: reads
/// `YYYY-MM-DD` from 1900-01-01 on.
pub fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let rule = |text: &str| {
        field_rules::parse_asked_date(text).filter(|date| date.year() >= field_rules::FIRST_YEAR)
    };
    value(deserializer, &rule, &"a calendar date such as 2026-11-21, from 1900-01-01 on").map(Some)
}

/// Reads a value with `read`, for functions named in `deserialize_with`. When `read` returns
/// `None`, the error says that `expected` would be right.
pub fn value<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: &dyn Fn(&str) -> Option<T>,
    expected: &dyn fmt::Display,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(ParameterRule { read, expected })
}

/// How to read a text, and what to say when it is wrong.
struct ParameterRule<'a, T> {
    read: &'a dyn Fn(&str) -> Option<T>,
    expected: &'a dyn fmt::Display,
}

impl<T> Visitor<'_> for ParameterRule<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

fn wrong_value(name: &str, value: &str, expected: impl fmt::Display) -> String {
    format!("The query parameter `{name}` is {}; expected {expected}.", Shown(value))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name = Shown(name);
    Problem::bad_request(match known {
        [] => format!("The query parameter {name} is unknown; this resource takes none."),
        known => {
            format!("The query parameter {name} is unknown; known here: {}.", known.join(", "))
        }
    })
}

/// What is wrong with a value. `of` makes a sentence of it that names the parameter.
#[derive(Debug)]
enum Wrong {
    /// Continues the words "expected …".
    Expected(String),
    /// The reason that the type itself gives.
    Because(String),
    /// The whole sentence.
    Told(String),
}

impl Wrong {
    fn of(self, param: &Param) -> Self {
        let (name, value) = (&param.name, &param.value);
        Wrong::Told(match self {
            Wrong::Expected(expected) => wrong_value(name, value, expected),
            Wrong::Because(reason) => format!(
                "The query parameter `{name}` is {}, which cannot be read: {reason}.",
                Shown(value)
            ),
            Wrong::Told(sentence) => sentence,
        })
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Wrong::Expected(text) | Wrong::Because(text) | Wrong::Told(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong::Because(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Wrong::Expected(format!("one of {}", expected.join(", ")))
    }

    fn invalid_value(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Wrong::Expected(expected.to_string())
    }

    fn invalid_type(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        Wrong::Expected(expected.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Wrong::Told(format!("The query parameter `{field}` is missing."))
    }
}

/// One decoded parameter. It keeps its name so that an error can name it.
struct Param {
    name: String,
    value: String,
}

impl Param {
    fn number<N: std::str::FromStr>(
        &self,
        least: impl fmt::Display,
        most: impl fmt::Display,
    ) -> Result<N, Wrong> {
        self.value
            .parse()
            .map_err(|_| Wrong::Expected(format!("a whole number from {least} to {most}")).of(self))
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
        visitor.visit_str(&self.value).map_err(|wrong: Wrong| wrong.of(&self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Wrong::Expected("true or false".into()).of(&self)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let plain: de::value::StrDeserializer<'_, Wrong> = self.value.as_str().into_deserializer();
        plain.deserialize_enum(name, variants, visitor).map_err(|wrong| wrong.of(&self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let parts = self
            .value
            .split(',')
            .map(|part| Param { name: self.name.clone(), value: part.to_owned() });
        visitor.visit_seq(de::value::SeqDeserializer::new(parts))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
