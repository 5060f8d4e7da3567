//! The values of the facts that a policy can read, in one canonical form.
//!
//! The document is walked by its own `Serialize` (the same that the engines build their input from, so that a new
//! field cannot be forgotten here), and nothing but the wanted parts of it is looked at. Two documents with the same
//! key agree on everything at and below the wanted paths: every value carries its kind, texts their length, lists and
//! maps their end. Where a path goes on below a value that has nothing below it, that value itself is part of the key.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer};

use super::read_set::{ReadSet, Wanted};

/// Facts larger than this are not remembered; a common key has 100 to 400 bytes. The buffer stands on the stack.
pub(super) const MAX_KEY: usize = 4096;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const UNSIGNED: u8 = 3;
const SIGNED: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;
const STRUCT: u8 = 9;
const END: u8 = 10;

/// A key under construction, without an allocation.
pub(super) struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    /// The key of a document; `None` when it would be too large.
    pub(super) fn of(document: &impl Serialize, reads: &ReadSet) -> Option<Self> {
        let mut key = Self {
            bytes: [0; MAX_KEY],
            len: 0,
        };
        let writer = Writer {
            wanted: reads.wanted(),
            key: &mut key,
        };
        document.serialize(writer).ok().map(|()| key)
    }

    /// What was written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let end = self.len.checked_add(bytes.len()).ok_or(TooLarge)?;
        self.bytes
            .get_mut(self.len..end)
            .ok_or(TooLarge)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn push_text(&mut self, text: &[u8]) -> Result<(), TooLarge> {
        let length = u16::try_from(text.len()).map_err(|_| TooLarge)?;
        self.push(&[TEXT])?;
        self.push(&length.to_le_bytes())?;
        self.push(text)
    }

    fn push_number(&mut self, kind: u8, bytes: [u8; 8]) -> Result<(), TooLarge> {
        self.push(&[kind])?;
        self.push(&bytes)
    }

    /// Writes what prints itself, and its length in front of it afterwards.
    fn push_display<T: fmt::Display + ?Sized>(&mut self, thing: &T) -> Result<(), TooLarge> {
        self.push(&[TEXT])?;
        let at = self.len;
        self.push(&[0, 0])?;
        let start = self.len;
        write!(self, "{thing}").map_err(|_| TooLarge)?;
        let length = u16::try_from(self.len.saturating_sub(start)).map_err(|_| TooLarge)?;
        self.bytes
            .get_mut(at..start)
            .ok_or(TooLarge)?
            .copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Takes back what was written after `length` bytes.
    fn truncate(&mut self, length: usize) {
        self.len = self.len.min(length);
    }

    /// The text that was written after `length` bytes, when it is one.
    fn text_after(&self, length: usize) -> &[u8] {
        match self.bytes.get(length..self.len) {
            Some([TEXT, _, _, text @ ..]) => text,
            Some(_) | None => &[],
        }
    }
}

impl fmt::Write for Key {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The facts do not fit into a key, or are nothing that a JSON document has.
#[derive(Debug, thiserror::Error)]
#[error("the facts do not fit into a key")]
struct TooLarge;

impl ser::Error for TooLarge {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Writes one value, as much of it as is wanted.
struct Writer<'a> {
    wanted: Wanted<'a>,
    key: &'a mut Key,
}

/// Writes the wanted elements of a list, or the wanted members of a map or struct.
struct Parts<'a> {
    wanted: Wanted<'a>,
    key: &'a mut Key,
    /// The next element.
    position: u64,
    /// What is wanted of the member whose name was written.
    member: Option<Wanted<'a>>,
}

impl<'a> Writer<'a> {
    fn parts(self, kind: u8) -> Result<Parts<'a>, TooLarge> {
        self.key.push(&[kind])?;
        Ok(Parts {
            wanted: self.wanted,
            key: self.key,
            position: 0,
            member: None,
        })
    }
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = TooLarge;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Impossible<(), TooLarge>;
    type SerializeTupleVariant = Impossible<(), TooLarge>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Impossible<(), TooLarge>;

    fn serialize_bool(self, value: bool) -> Result<(), TooLarge> {
        self.key.push(&[if value { TRUE } else { FALSE }])
    }

    fn serialize_i8(self, value: i8) -> Result<(), TooLarge> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), TooLarge> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), TooLarge> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), TooLarge> {
        self.key.push_number(SIGNED, value.to_le_bytes())
    }

    fn serialize_u8(self, value: u8) -> Result<(), TooLarge> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), TooLarge> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), TooLarge> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), TooLarge> {
        self.key.push_number(UNSIGNED, value.to_le_bytes())
    }

    fn serialize_f32(self, value: f32) -> Result<(), TooLarge> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), TooLarge> {
        self.key.push_number(FLOAT, value.to_bits().to_le_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), TooLarge> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), TooLarge> {
        self.key.push_text(value.as_bytes())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), TooLarge> {
        self.key.push_display(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), TooLarge> {
        Err(TooLarge)
    }

    fn serialize_none(self) -> Result<(), TooLarge> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TooLarge> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), TooLarge> {
        self.key.push(&[NULL])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), TooLarge> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), TooLarge> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), TooLarge> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), TooLarge> {
        Err(TooLarge)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, TooLarge> {
        self.parts(LIST)
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, TooLarge> {
        self.parts(LIST)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, TooLarge> {
        Err(TooLarge)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TooLarge> {
        Err(TooLarge)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, TooLarge> {
        self.parts(MAP)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, TooLarge> {
        self.parts(STRUCT)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, TooLarge> {
        Err(TooLarge)
    }
}

impl Parts<'_> {
    fn write<T: Serialize + ?Sized>(&mut self, wanted: Wanted<'_>, value: &T) -> Result<(), TooLarge> {
        value.serialize(Writer {
            wanted,
            key: self.key,
        })
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = TooLarge;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TooLarge> {
        let position = self.position;
        self.position = position.saturating_add(1);
        let Some(wanted) = self.wanted.item(position) else {
            return Ok(());
        };
        if matches!(self.wanted, Wanted::Some(_)) {
            self.key.push_number(UNSIGNED, position.to_le_bytes())?;
        }
        self.write(wanted, value)
    }

    fn end(self) -> Result<(), TooLarge> {
        self.key.push(&[END])
    }
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = TooLarge;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TooLarge> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), TooLarge> {
        SerializeSeq::end(self)
    }
}

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = TooLarge;

    /// A name is written before anybody knows whether it is wanted, and taken back when it is not.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), TooLarge> {
        let before = self.key.len;
        self.write(Wanted::All, name)?;
        self.member = self.wanted.field(self.key.text_after(before));
        if self.member.is_none() {
            self.key.truncate(before);
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TooLarge> {
        match self.member.take() {
            Some(wanted) => self.write(wanted, value),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), TooLarge> {
        self.key.push(&[END])
    }
}

impl SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = TooLarge;

    /// The names of a struct are always the same and in the same order, so that they need not be written.
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TooLarge> {
        match self.wanted.field(name.as_bytes()) {
            Some(wanted) => self.write(wanted, value),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), TooLarge> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
