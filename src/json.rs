//! Reads JSON as serde_json does, but faster; anything unusual it leaves to serde_json.
//!
//! Most of what the API server sends is passed over, such as `managedFields`. serde_json does so with the care that its
//! error messages need. This reader has no messages: it returns the same value as serde_json, or it gives up.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de, forward_to_deserialize_any};
use wide::u8x16;

/// The maximum depth of values, as many as the bits of [`Open`]. serde_json reads 127, and passes over any depth.
const DEEPEST: u8 = 63;

/// Reads a document like `serde_json::from_slice`.
///
/// # Errors
/// The document is not JSON, or does not fit the type: the error of serde_json.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(json).ok().and_then(read) {
        Some(value) => Ok(value),
        None => serde_json::from_slice(json),
    }
}

/// Reads a document. `None` if `serde_json::from_str` returns an error, and in rare cases if it does not: the document
/// is nested deeper than 63 levels, has a list where `T` has a struct, or has content where `T` has a variant of an enum.
pub(crate) fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Option<T> {
    let mut reader = Reader { json, at: 0, levels: DEEPEST };
    let value = T::deserialize(&mut reader).ok()?;
    // Something after the document.
    if reader.peek().is_ok() {
        return None;
    }
    Some(value)
}

/// The name with which serde_json asks for a `RawValue`. If it had another one, this reader would give up.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The document is not JSON, does not fit the type, or is unusual.
#[derive(Debug)]
struct GivesUp;

impl fmt::Display for GivesUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read")
    }
}

impl std::error::Error for GivesUp {}

impl de::Error for GivesUp {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A document while it is read.
struct Reader<'de> {
    json: &'de str,
    /// The index of the next byte.
    at: usize,
    /// How many more lists and objects may be open.
    levels: u8,
}

impl<'de> Reader<'de> {
    fn rest(&self) -> &'de [u8] {
        self.json.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    #[inline]
    fn peek(&mut self) -> Result<u8, GivesUp> {
        match self.json.as_bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.peek_after_space(),
        }
    }

    /// The API server writes no white space.
    #[cold]
    #[inline(never)]
    fn peek_after_space(&mut self) -> Result<u8, GivesUp> {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += self.rest().iter().take_while(is_space).count();
        self.rest().first().copied().ok_or(GivesUp)
    }

    /// The same, and goes past it.
    #[inline]
    fn take(&mut self) -> Result<u8, GivesUp> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), GivesUp> {
        if self.json.as_bytes().get(self.at) != Some(&byte) && self.peek()? != byte {
            return Err(GivesUp);
        }
        self.at += 1;
        Ok(())
    }

    fn pass_word(&mut self, word: &str) -> Result<(), GivesUp> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(GivesUp);
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes a number. serde_json knows whether it is one, because it follows the same bytes in every document.
    fn number(&mut self) -> Result<&'de str, GivesUp> {
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let start = self.at;
        self.at += self.rest().iter().take_while(is_part).count();
        self.json.get(start..self.at).ok_or(GivesUp)
    }

    /// Passes the rest of a string after its first quote. Returns whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> Result<bool, GivesUp> {
        // Most strings are short, so a call would cost more than this.
        if let Some(chunk) = self.rest().first_chunk() {
            let signs = Signs::of(chunk);
            let quotes = signs.quotes.to_bitmask();
            let others = (signs.backslashes | signs.controls).to_bitmask();
            // None of the others comes before the first quote.
            if quotes != 0 && others & (quotes - 1) == 0 {
                self.at += quotes.trailing_zeros() as usize + 1;
                return Ok(false);
            }
        }
        self.pass_long_string()
    }

    #[inline(never)]
    fn pass_long_string(&mut self) -> Result<bool, GivesUp> {
        let mut has_escapes = false;
        while let Some(chunk) = self.rest().first_chunk() {
            let signs = Signs::of(chunk);
            let quotes = signs.quotes.to_bitmask();
            let backslashes = signs.backslashes.to_bitmask();
            let controls = signs.controls.to_bitmask();
            // Nearly always, a quote is what is escaped. The first other escape ends the look at this chunk, so before it,
            // every backslash begins an escape.
            let after_backslashes = backslashes << 1;
            let other_escapes = after_backslashes & !quotes & CHUNK;
            let ends = quotes & !after_backslashes;
            let stops = ends | other_escapes | controls;
            if stops == 0 {
                has_escapes |= backslashes != 0;
                // A backslash in the last place is the first of the next chunk, together with what it escapes.
                self.at += chunk.len() - (backslashes >> 15) as usize;
                continue;
            }
            let first = stops & stops.wrapping_neg();
            let place = first.trailing_zeros() as usize;
            if ends & first != 0 {
                self.at += place + 1;
                return Ok(has_escapes || backslashes & (first - 1) != 0);
            }
            if controls & first != 0 {
                return Err(GivesUp);
            }
            self.at += place - 1;
            self.pass_escape()?;
            has_escapes = true;
        }
        self.pass_last_string(has_escapes)
    }

    /// Passes the rest of a string in the last bytes of the document.
    fn pass_last_string(&mut self, mut has_escapes: bool) -> Result<bool, GivesUp> {
        loop {
            match self.rest().first() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    self.pass_escape()?;
                    has_escapes = true;
                }
                Some(b' '..) => self.at += 1,
                // A control character, or the end of the document.
                _ => return Err(GivesUp),
            }
        }
    }

    fn pass_escape(&mut self) -> Result<(), GivesUp> {
        self.at += match self.rest() {
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => 6,
            _ => return Err(GivesUp),
        };
        Ok(())
    }

    #[inline]
    fn visit_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, GivesUp> {
        let quote = self.at;
        self.expect(b'"')?;
        if self.pass_string()? {
            let string = self.json.get(quote..self.at).ok_or(GivesUp)?;
            return leave_to_serde_json(string, visitor);
        }
        visitor.visit_borrowed_str(self.json.get(quote + 1..self.at - 1).ok_or(GivesUp)?)
    }

    fn visit_raw_value<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, GivesUp> {
        self.peek()?;
        let start = self.at;
        self.pass_value()?;
        let json = self.json.get(start..self.at).ok_or(GivesUp)?;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer.deserialize_newtype_struct(RAW_VALUE, visitor).map_err(|_| GivesUp)
    }

    fn visit_map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, GivesUp> {
        self.open(b'{')?;
        let value = visitor.visit_map(Parts { reader: self, end: b'}', is_first: true })?;
        self.close(b'}')?;
        Ok(value)
    }

    fn visit_seq<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, GivesUp> {
        self.open(b'[')?;
        let value = visitor.visit_seq(Parts { reader: self, end: b']', is_first: true })?;
        self.close(b']')?;
        Ok(value)
    }

    fn open(&mut self, sign: u8) -> Result<(), GivesUp> {
        self.levels = self.levels.checked_sub(1).ok_or(GivesUp)?;
        self.expect(sign)
    }

    fn close(&mut self, sign: u8) -> Result<(), GivesUp> {
        self.levels += 1;
        self.expect(sign)
    }

    /// Passes a value, and checks that it is JSON.
    fn pass_value(&mut self) -> Result<(), GivesUp> {
        let mut open = Open::default();
        loop {
            match self.peek()? {
                b'"' => self.pass_text()?,
                b'{' => {
                    self.at += 1;
                    if self.peek()? != b'}' {
                        open.push(true)?;
                        self.pass_key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.peek()? != b']' {
                        open.push(false)?;
                        continue;
                    }
                    self.at += 1;
                }
                b't' => self.pass_word("true")?,
                b'f' => self.pass_word("false")?,
                b'n' => self.pass_word("null")?,
                b'-' | b'0'..=b'9' => {
                    leave_to_serde_json(self.number()?, IgnoredAny)?;
                }
                _ => return Err(GivesUp),
            }
            // The value has ended, and perhaps what it is in.
            loop {
                let Some(is_object) = open.last() else { return Ok(()) };
                match (self.take()?, is_object) {
                    (b',', false) => break,
                    (b',', true) => {
                        self.pass_key()?;
                        break;
                    }
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return Err(GivesUp),
                }
            }
        }
    }

    #[inline]
    fn pass_text(&mut self) -> Result<(), GivesUp> {
        self.at += 1;
        self.pass_string()?;
        Ok(())
    }

    #[inline]
    fn pass_key(&mut self) -> Result<(), GivesUp> {
        self.expect(b'"')?;
        self.pass_string()?;
        self.expect(b':')
    }
}

/// The lists and objects around a value that is passed: a bit for each, the innermost last, set for an object. Above
/// them is one set bit.
struct Open(u64);

impl Default for Open {
    fn default() -> Self {
        Self(1)
    }
}

impl Open {
    #[inline]
    fn push(&mut self, is_object: bool) -> Result<(), GivesUp> {
        if self.0 >> DEEPEST != 0 {
            return Err(GivesUp);
        }
        self.0 = self.0 << 1 | u64::from(is_object);
        Ok(())
    }

    #[inline]
    fn pop(&mut self) {
        self.0 >>= 1;
    }

    /// Whether the innermost one is an object; `None` if there is none.
    #[inline]
    fn last(&self) -> Option<bool> {
        (self.0 != 1).then_some(self.0 & 1 != 0)
    }
}

/// A bit for each byte of a chunk.
const CHUNK: u32 = (1 << 16) - 1;

/// Where a chunk has the bytes that may not be in a string as they are. In masks, the first byte is the last bit.
struct Signs {
    quotes: u8x16,
    backslashes: u8x16,
    controls: u8x16,
}

impl Signs {
    #[inline]
    fn of(chunk: &[u8; 16]) -> Self {
        let bytes = u8x16::new(*chunk);
        Self {
            quotes: bytes.simd_eq(u8x16::splat(b'"')),
            backslashes: bytes.simd_eq(u8x16::splat(b'\\')),
            controls: bytes.min(u8x16::splat(b' ' - 1)).simd_eq(bytes),
        }
    }
}

/// Lets serde_json read one number or string.
fn leave_to_serde_json<'de, V: Visitor<'de>>(json: &'de str, visitor: V) -> Result<V::Value, GivesUp> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = deserializer.deserialize_any(visitor).map_err(|_| GivesUp)?;
    deserializer.end().map_err(|_| GivesUp)?;
    Ok(value)
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = GivesUp;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        match self.peek()? {
            b'"' => self.visit_string(visitor),
            b'{' => self.visit_map(visitor),
            b'[' => self.visit_seq(visitor),
            b't' => self.pass_word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.pass_word("false").and_then(|()| visitor.visit_bool(false)),
            b'n' => self.pass_word("null").and_then(|()| visitor.visit_unit()),
            b'-' | b'0'..=b'9' => leave_to_serde_json(self.number()?, visitor),
            _ => Err(GivesUp),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        if self.peek()? != b'n' {
            return visitor.visit_some(self);
        }
        self.pass_word("null")?;
        visitor.visit_none()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, GivesUp> {
        if name == RAW_VALUE {
            return self.visit_raw_value(visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    /// Not a list, unlike serde_json.
    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GivesUp> {
        self.visit_map(visitor)
    }

    /// Only variants without content, such as the type of a watch event.
    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GivesUp> {
        self.peek()?;
        visitor.visit_enum(BorrowedStrDeserializer::new(<&str>::deserialize(self)?))
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        self.peek()?;
        self.visit_string(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GivesUp> {
        self.pass_value()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map
    }
}

/// The entries of an open list or object.
struct Parts<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// The sign that closes it.
    end: u8,
    is_first: bool,
}

impl Parts<'_, '_> {
    /// Goes to the next entry; false if there is none.
    #[inline]
    fn advance(&mut self) -> Result<bool, GivesUp> {
        if self.reader.peek()? == self.end {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.is_first, false) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = GivesUp;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, GivesUp> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = GivesUp;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, GivesUp> {
        if !self.advance()? {
            return Ok(None);
        }
        if self.reader.peek()? != b'"' {
            return Err(GivesUp);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, GivesUp> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

#[cfg(test)]
mod tests;
