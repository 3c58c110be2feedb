//! The subprotocol `hioload.topics.v1`: JSON commands in, JSON messages out. docs/serving.md documents it.
//!
//! The parser reads only the keys of a command; `data` and `id` pass through as the JSON text that arrived.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The name of the subprotocol.
pub(super) const PROTOCOL: &str = "hioload.topics.v1";

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// The action.
    pub action: Action<'a>,
    /// The JSON text of `id`. A command with an id is acknowledged.
    pub id: Option<&'a str>,
}

/// The action of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// Subscribe to a topic or pattern.
    Subscribe(Cow<'a, str>),
    /// End that subscription.
    Unsubscribe(Cow<'a, str>),
    /// Send `data`, which is JSON text, to the subscribers of a topic.
    Publish {
        /// The topic.
        topic: Cow<'a, str>,
        /// JSON text.
        data: &'a str,
    },
}

/// The refusal of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused<'a> {
    /// The reason, for the client.
    pub why: &'static str,
    /// The JSON text of `id`, if one could be read.
    pub id: Option<&'a str>,
}

/// The refusal of a binary message.
pub(super) const NOT_TEXT: Refused<'static> = Refused {
    why: "expected a text message",
    id: None,
};

/// Parses a command.
///
/// # Errors
/// The text is not a command.
pub(super) fn parse(text: &str) -> Result<Command<'_>, Refused<'_>> {
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else {
        return Err(Refused {
            why: "expected a JSON object",
            id: None,
        });
    };
    let id = fields.id.map(RawValue::get);
    if id.is_some_and(|id| {
        !id.starts_with(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    }) {
        return Err(Refused {
            why: "id must be a string or a number",
            id: None,
        });
    }
    match action(&fields) {
        Ok(action) => Ok(Command { action, id }),
        Err(why) => Err(Refused { why, id }),
    }
}

fn action<'a>(fields: &Fields<'a>) -> Result<Action<'a>, &'static str> {
    if let Some(why) = fields.wrong {
        return Err(why);
    }
    if fields.publish.is_none() && fields.data.is_some() {
        return Err("data belongs to pub");
    }
    match (fields.subscribe, fields.unsubscribe, fields.publish) {
        (Some(pattern), None, None) => Ok(Action::Subscribe(topic(pattern)?)),
        (None, Some(pattern), None) => Ok(Action::Unsubscribe(topic(pattern)?)),
        (None, None, Some(name)) => {
            let data = fields.data.ok_or("pub needs data")?.get();
            Ok(Action::Publish {
                topic: topic(name)?,
                data,
            })
        }
        _ => Err("expected exactly one of sub, unsub, pub"),
    }
}

fn topic(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    serde_json::from_str(raw.get())
        .map(|Text(text)| text)
        .map_err(|_| "a topic must be a string")
}

/// The members of a command. Missing, duplicate and unknown members are reported after the whole object has been read, so that the
/// refusal can carry the id, which may stand anywhere in it.
#[derive(Default)]
struct Fields<'a> {
    subscribe: Option<&'a RawValue>,
    unsubscribe: Option<&'a RawValue>,
    publish: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    wrong: Option<&'static str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(Text(key)) = members.next_key()? {
            let value: &RawValue = members.next_value()?;
            let field = match &*key {
                "sub" => &mut fields.subscribe,
                "unsub" => &mut fields.unsubscribe,
                "pub" => &mut fields.publish,
                "data" => &mut fields.data,
                "id" => &mut fields.id,
                _ => {
                    fields.wrong = Some("unknown key");
                    continue;
                }
            };
            if field.replace(value).is_some() {
                fields.wrong = Some("duplicate key");
            }
        }
        Ok(fields)
    }
}

/// A string that is borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        from.deserialize_str(TextVisitor).map(Text)
    }
}

/// Writes `{"msg":TOPIC,"data":DATA}`; `data` is JSON text.
pub(super) fn write_message(out: &mut Vec<u8>, topic: &str, data: &str) {
    out.clear();
    out.extend_from_slice(br#"{"msg":"#);
    write_string(out, topic);
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(data.as_bytes());
    out.push(b'}');
}

/// Writes `{"ok":ID}`; `id` is JSON text.
pub(super) fn write_ok(out: &mut Vec<u8>, id: &str) {
    out.clear();
    out.extend_from_slice(br#"{"ok":"#);
    out.extend_from_slice(id.as_bytes());
    out.push(b'}');
}

/// Writes `{"error":WHY}` or `{"error":WHY,"id":ID}`.
pub(super) fn write_error(out: &mut Vec<u8>, refused: &Refused<'_>) {
    out.clear();
    out.extend_from_slice(br#"{"error":"#);
    write_string(out, refused.why);
    if let Some(id) = refused.id {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(id.as_bytes());
    }
    out.push(b'}');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Neither writing to memory nor serializing a string can fail.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let mut out = Vec::new();
        write_error(&mut out, &parse(text).expect_err(text));
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn commands() {
        for (text, action, id) in [
            (
                r#"{"sub":"chat.*"}"#,
                Action::Subscribe("chat.*".into()),
                None,
            ),
            (
                r#" { "id" : -1.5 , "sub" : "a\u002eb" } "#,
                Action::Subscribe("a.b".into()),
                Some("-1.5"),
            ),
            (
                r#"{"unsub":"chat.>","id":"x\"y"}"#,
                Action::Unsubscribe("chat.>".into()),
                Some(r#""x\"y""#),
            ),
            (
                r#"{"pub":"a","data":{"x": [1, 2]}}"#,
                Action::Publish {
                    topic: "a".into(),
                    data: r#"{"x": [1, 2]}"#,
                },
                None,
            ),
            (
                r#"{"data":null,"pub":"a","id":0}"#,
                Action::Publish {
                    topic: "a".into(),
                    data: "null",
                },
                Some("0"),
            ),
        ] {
            assert_eq!(parse(text), Ok(Command { action, id }), "{text}");
        }
    }

    #[test]
    fn plain_topics_are_not_copied() {
        let Ok(Command {
            action: Action::Subscribe(Cow::Borrowed("chat.*")),
            ..
        }) = parse(r#"{"sub":"chat.*"}"#)
        else {
            panic!("this is a borrowed subscription");
        };
    }

    #[test]
    fn a_text_that_is_not_a_json_object_is_refused_without_an_id() {
        for text in [
            "",
            "sub",
            "[]",
            "1",
            "null",
            r#"{"sub":"a""#,
            r#"{"sub":"a"}x"#,
            r#"{"sub":a}"#,
            "{'sub':'a'}",
        ] {
            assert_eq!(
                refused(text),
                r#"{"error":"expected a JSON object"}"#,
                "{text}"
            );
        }
    }

    #[test]
    fn an_object_that_is_not_a_command_is_refused_with_its_id() {
        for (text, why) in [
            (r#"{"id":7}"#, "expected exactly one of sub, unsub, pub"),
            (
                r#"{"sub":"a","unsub":"a","id":7}"#,
                "expected exactly one of sub, unsub, pub",
            ),
            (r#"{"sub":5,"id":7}"#, "a topic must be a string"),
            (r#"{"sub":"\ud800","id":7}"#, "a topic must be a string"),
            (r#"{"id":7,"pub":"a"}"#, "pub needs data"),
            (r#"{"sub":"a","data":1,"id":7}"#, "data belongs to pub"),
            (r#"{"sub":"a","colour":"red","id":7}"#, "unknown key"),
            (r#"{"sub":"a","sub":"b","id":7}"#, "duplicate key"),
        ] {
            assert_eq!(
                refused(text),
                format!(r#"{{"error":"{why}","id":7}}"#),
                "{text}"
            );
        }
        for id in ["null", "true", "[1]", "{}"] {
            let said = refused(&format!(r#"{{"sub":"a","id":{id}}}"#));
            assert_eq!(said, r#"{"error":"id must be a string or a number"}"#);
        }
    }

    #[test]
    fn answers() {
        let mut out = b"left over".to_vec();
        write_message(&mut out, "a\"b", r#"{"x": 1.0}"#);
        assert_eq!(out, br#"{"msg":"a\"b","data":{"x": 1.0}}"#);
        write_ok(&mut out, r#""seven""#);
        assert_eq!(out, br#"{"ok":"seven"}"#);
        write_error(&mut out, &NOT_TEXT);
        assert_eq!(out, br#"{"error":"expected a text message"}"#);
    }

    #[test]
    fn numbers_and_nesting_pass_through_untouched() {
        let data = format!("{}1e400{}", "[".repeat(10_000), "]".repeat(10_000));
        let text = format!(r#"{{"pub":"a","data":{data}}}"#);
        let Ok(Command {
            action: Action::Publish { data: out, .. },
            ..
        }) = parse(&text)
        else {
            panic!("deep nesting is JSON");
        };
        assert_eq!(out, data);
    }
}
