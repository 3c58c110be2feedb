//! Deserializes through `FromStr`, so that a value has the same meaning in the file and on the command line.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// One value: a string, a number or a boolean.
pub(super) fn one<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    One(PhantomData).deserialize(from).map(Some)
}

/// An array of values, or one value.
pub(super) fn many<'de, D, T>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    from.deserialize_any(Many(PhantomData)).map(Some)
}

struct One<T>(PhantomData<T>);

fn parse<T: FromStr<Err: fmt::Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse()
        .map_err(|why| E::custom(format_args!("'{text}': {why}")))
}

impl<'de, T: FromStr<Err: fmt::Display>> DeserializeSeed<'de> for One<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for One<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        parse(text)
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        parse(&number.to_string())
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        parse(&number.to_string())
    }
    fn visit_bool<E: Error>(self, yes: bool) -> Result<T, E> {
        parse(&yes.to_string())
    }
}

struct Many<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Many<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or an array of values")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        parse(text).map(|value| vec![value])
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(One(PhantomData))? {
            values.push(value);
        }
        Ok(values)
    }
}
