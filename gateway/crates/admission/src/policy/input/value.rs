//! The document as a regorus value, built directly: no text in between, and every field name made once.

use std::collections::HashMap;
use std::fmt;

use regorus::Value;
use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

/// The field names of the document as values, made once per engine and cloned (a reference count) per request.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct InputKeys(HashMap<&'static str, Value>);

impl InputKeys {
    /// The names that the document has.
    pub(in crate::policy) fn new() -> Self {
        const NAMES: [&str; 35] = [
            "request",
            "principal",
            "client",
            "route",
            "gateway",
            "id",
            "method",
            "scheme",
            "host",
            "path",
            "segments",
            "query",
            "headers",
            "body",
            "kind",
            "issuer",
            "subject",
            "spiffe_id",
            "trust_domain",
            "tenant",
            "roles",
            "scopes",
            "region",
            "claims",
            "expires_at",
            "address",
            "certificate",
            "fingerprint",
            "name",
            "class",
            "params",
            "operation",
            "residency",
            "revision",
            "input",
        ];
        Self(NAMES.into_iter().map(|name| (name, Value::from(name))).collect())
    }

    fn key(&self, name: &'static str) -> Value {
        self.0.get(name).cloned().unwrap_or_else(|| Value::from(name))
    }
}

/// The regorus value that a thing serialises to.
pub(in crate::policy) fn to_rego(thing: &impl Serialize, keys: &InputKeys) -> Result<Value, ValueFault> {
    thing.serialize(ValueSerializer(keys))
}

/// The document holds something that no JSON document can.
#[derive(Debug)]
pub(in crate::policy) struct ValueFault(String);

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueFault {}

impl ser::Error for ValueFault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unsupported<T>(what: &str) -> Result<T, ValueFault> {
    Err(ValueFault(format!("the policy input cannot hold {what}")))
}

#[derive(Clone, Copy)]
struct ValueSerializer<'k>(&'k InputKeys);

struct ListBuilder<'k> {
    keys: &'k InputKeys,
    items: Vec<Value>,
}

struct ObjectBuilder<'k> {
    keys: &'k InputKeys,
    fields: Vec<(Value, Value)>,
    name: Option<Value>,
}

impl<'k> Serializer for ValueSerializer<'k> {
    type Ok = Value;
    type Error = ValueFault;
    type SerializeSeq = ListBuilder<'k>;
    type SerializeTuple = Impossible<Value, ValueFault>;
    type SerializeTupleStruct = Impossible<Value, ValueFault>;
    type SerializeTupleVariant = Impossible<Value, ValueFault>;
    type SerializeMap = ObjectBuilder<'k>;
    type SerializeStruct = ObjectBuilder<'k>;
    type SerializeStructVariant = Impossible<Value, ValueFault>;

    fn serialize_bool(self, value: bool) -> Result<Value, ValueFault> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, ValueFault> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<Value, ValueFault> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<Value, ValueFault> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<Value, ValueFault> {
        Ok(Value::from(value))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, ValueFault> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<Value, ValueFault> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<Value, ValueFault> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<Value, ValueFault> {
        Ok(Value::from(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, ValueFault> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Value, ValueFault> {
        Ok(Value::from(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, ValueFault> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Value, ValueFault> {
        Ok(Value::from(value))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, ValueFault> {
        unsupported("bytes")
    }

    fn serialize_none(self) -> Result<Value, ValueFault> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueFault> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueFault> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueFault> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Value, ValueFault> {
        Ok(self.0.key(name))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, ValueFault> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, ValueFault> {
        unsupported("an enum variant")
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListBuilder<'k>, ValueFault> {
        Ok(ListBuilder {
            keys: self.0,
            items: Vec::with_capacity(length.unwrap_or(0)),
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, ValueFault> {
        unsupported("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, ValueFault> {
        unsupported("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, ValueFault> {
        unsupported("an enum variant")
    }

    fn serialize_map(self, length: Option<usize>) -> Result<ObjectBuilder<'k>, ValueFault> {
        Ok(ObjectBuilder {
            keys: self.0,
            fields: Vec::with_capacity(length.unwrap_or(0)),
            name: None,
        })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<ObjectBuilder<'k>, ValueFault> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, ValueFault> {
        unsupported("an enum variant")
    }
}

impl SerializeSeq for ListBuilder<'_> {
    type Ok = Value;
    type Error = ValueFault;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueFault> {
        self.items.push(value.serialize(ValueSerializer(self.keys))?);
        Ok(())
    }

    fn end(self) -> Result<Value, ValueFault> {
        Ok(Value::from(self.items))
    }
}

impl SerializeMap for ObjectBuilder<'_> {
    type Ok = Value;
    type Error = ValueFault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueFault> {
        self.name = Some(key.serialize(ValueSerializer(self.keys))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueFault> {
        let Some(name) = self.name.take() else {
            return unsupported("a value without a name");
        };
        self.fields
            .push((name, value.serialize(ValueSerializer(self.keys))?));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueFault> {
        Ok(regorus::value::Object::from_iter(self.fields).into())
    }
}

impl SerializeStruct for ObjectBuilder<'_> {
    type Ok = Value;
    type Error = ValueFault;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ValueFault> {
        self.fields
            .push((self.keys.key(name), value.serialize(ValueSerializer(self.keys))?));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueFault> {
        SerializeMap::end(self)
    }
}
