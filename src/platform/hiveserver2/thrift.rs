//! Thrift's binary protocol: messages as bytes, and back. By hand rather than by the crate `thrift`,
//! which blocks its thread and reserves what a length claims before a byte of it has come; and few
//! structures are needed. Nothing here reserves more than has arrived.

use std::fmt;

/// Longest message read: answers to the calls made here are small, stack traces of servers are not.
pub(super) const LARGEST: usize = 1 << 20;

/// Most values in one message: each takes more room here than it did on the wire.
const MOST_VALUES: usize = 50_000;

/// Structures in structures: answers have four or five.
const DEEPEST: usize = 16;

const VERSION: u32 = 0x8001_0000;
const CALL: u8 = 1;
const REPLY: u8 = 2;
const EXCEPTION: u8 = 3;

/// A value. Fields of structures are known by number.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Byte(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Struct(Vec<(i16, Value)>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl fmt::Debug for Value {
    /// Nothing of it: requests hold passwords, handles open sessions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Value::Bytes(text.as_bytes().to_vec())
    }

    /// A map of texts.
    pub(super) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Value::Map(pairs.into_iter().map(|(key, value)| (Self::text(key), Self::text(value))).collect())
    }

    /// A field of a structure.
    pub(super) fn field(&self, number: i16) -> Option<&Value> {
        let Value::Struct(fields) = self else { return None };
        fields.iter().find(|(known, _)| *known == number).map(|(_, value)| value)
    }

    /// A field that is a whole number of any width.
    pub(super) fn number(&self, field: i16) -> Option<i64> {
        match self.field(field)? {
            Value::Byte(n) => Some((*n).into()),
            Value::I16(n) => Some((*n).into()),
            Value::I32(n) => Some((*n).into()),
            Value::I64(n) => Some(*n),
            _ => None,
        }
    }

    /// A field that is a text.
    pub(super) fn words(&self, field: i16) -> Option<String> {
        self.bytes(field).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A field that is bytes.
    pub(super) fn bytes(&self, field: i16) -> Option<&[u8]> {
        match self.field(field)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Value::Bool(_) => 2,
            Value::Byte(_) => 3,
            Value::Double(_) => 4,
            Value::I16(_) => 6,
            Value::I32(_) => 8,
            Value::I64(_) => 10,
            Value::Bytes(_) => 11,
            Value::Struct(_) => 12,
            Value::Map(_) => 13,
            Value::List(_) => 15,
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        // What is sent is made here, and shorter than 2 GB.
        let length = |n: usize| i32::try_from(n).unwrap_or(i32::MAX).to_be_bytes();
        match self {
            Value::Bool(set) => to.push(u8::from(*set)),
            Value::Byte(n) => to.extend(n.to_be_bytes()),
            Value::I16(n) => to.extend(n.to_be_bytes()),
            Value::I32(n) => to.extend(n.to_be_bytes()),
            Value::I64(n) => to.extend(n.to_be_bytes()),
            Value::Double(n) => to.extend(n.to_be_bytes()),
            Value::Bytes(bytes) => {
                to.extend(length(bytes.len()));
                to.extend(bytes);
            }
            Value::Struct(fields) => {
                for (number, value) in fields {
                    to.push(value.kind());
                    to.extend(number.to_be_bytes());
                    value.write(to);
                }
                to.push(0);
            }
            Value::List(values) => {
                to.push(values.first().map_or(12, Value::kind));
                to.extend(length(values.len()));
                values.iter().for_each(|value| value.write(to));
            }
            Value::Map(pairs) => {
                let (key, value) = pairs.first().map_or((11, 11), |(key, value)| (key.kind(), value.kind()));
                to.extend([key, value]);
                to.extend(length(pairs.len()));
                for (key, value) in pairs {
                    key.write(to);
                    value.write(to);
                }
            }
        }
    }
}

/// A call of a method that takes one structure.
pub(super) fn call(method: &str, number: i32, request: Value) -> Vec<u8> {
    let mut bytes = (VERSION | u32::from(CALL)).to_be_bytes().to_vec();
    Value::text(method).write(&mut bytes);
    bytes.extend(number.to_be_bytes());
    Value::Struct(vec![(1, request)]).write(&mut bytes);
    bytes
}

/// What a server said to a call.
#[derive(Debug)]
pub(super) struct Answer {
    /// The number of the call.
    pub(super) number: i32,
    /// What the method returned, or what Thrift itself had to say against the call.
    pub(super) said: Result<Value, String>,
}

/// Why bytes are not an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Not yet: it is at least so long.
    More(usize),
    /// Never.
    Wrong(&'static str),
}

/// Reads the answer at the beginning of some bytes, and how long it is.
pub(super) fn answer(bytes: &[u8]) -> Result<(Answer, usize), Unread> {
    let mut reading = Reading { bytes, at: 0, values: 0 };
    let head = u32::from_be_bytes(reading.array()?);
    let kind = head as u8;
    if head & 0xffff_ff00 != VERSION {
        return Err(Unread::Wrong("it does not speak Thrift's binary protocol here"));
    }
    reading.counted()?;
    let number = i32::from_be_bytes(reading.array()?);
    let body = reading.value(12, 0)?;
    let said = match kind {
        REPLY => match body {
            Value::Struct(fields) => fields.into_iter().find(|(number, _)| *number == 0).map(|(_, value)| Ok(value)),
            _ => None,
        },
        EXCEPTION => Some(Err(body.words(1).unwrap_or_default())),
        _ => return Err(Unread::Wrong("it answers with something that is no answer")),
    };
    let said = said.ok_or(Unread::Wrong("it answers a call without returning anything"))?;
    Ok((Answer { number, said }, reading.at))
}

struct Reading<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reading<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Unread> {
        let end = self.at.saturating_add(n);
        if end > LARGEST {
            return Err(Unread::Wrong("its answer is longer than 1 MB, or says that it is"));
        }
        let taken = self.bytes.get(self.at..end).ok_or(Unread::More(end))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        self.take(N)?.try_into().map_err(|_| Unread::Wrong("cannot be: as many bytes as asked for"))
    }

    fn count(&mut self) -> Result<usize, Unread> {
        let n = i32::from_be_bytes(self.array()?);
        usize::try_from(n).map_err(|_| Unread::Wrong("its answer has something of a negative length"))
    }

    fn counted(&mut self) -> Result<&'a [u8], Unread> {
        let n = self.count()?;
        self.take(n)
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value, Unread> {
        self.values += 1;
        if depth > DEEPEST || self.values > MOST_VALUES {
            return Err(Unread::Wrong("its answer has more parts than any has"));
        }
        Ok(match kind {
            2 => Value::Bool(self.array::<1>()? != [0]),
            3 => Value::Byte(i8::from_be_bytes(self.array()?)),
            4 => Value::Double(f64::from_be_bytes(self.array()?)),
            6 => Value::I16(i16::from_be_bytes(self.array()?)),
            8 => Value::I32(i32::from_be_bytes(self.array()?)),
            10 => Value::I64(i64::from_be_bytes(self.array()?)),
            11 => Value::Bytes(self.counted()?.to_vec()),
            12 => {
                let mut fields = Vec::new();
                loop {
                    let [kind] = self.array()?;
                    if kind == 0 {
                        return Ok(Value::Struct(fields));
                    }
                    let number = i16::from_be_bytes(self.array()?);
                    fields.push((number, self.value(kind, depth + 1)?));
                }
            }
            13 => {
                let [key, value] = self.array()?;
                let mut pairs = Vec::new();
                for _ in 0..self.count()? {
                    pairs.push((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
                }
                Value::Map(pairs)
            }
            14 | 15 => {
                let [kind] = self.array()?;
                let mut values = Vec::new();
                for _ in 0..self.count()? {
                    values.push(self.value(kind, depth + 1)?);
                }
                Value::List(values)
            }
            _ => return Err(Unread::Wrong("its answer has a value of a kind that there is not")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(body: &[u8]) -> Vec<u8> {
        let mut bytes = (VERSION | u32::from(REPLY)).to_be_bytes().to_vec();
        Value::text("OpenSession").write(&mut bytes);
        bytes.extend(7i32.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn whole() -> Vec<u8> {
        let inner = Value::Struct(vec![
            (1, Value::Bool(true)),
            (2, Value::Byte(-1)),
            (3, Value::I16(300)),
            (4, Value::I32(-70_000)),
            (5, Value::I64(i64::MIN)),
            (6, Value::Double(0.1)),
            (7, Value::text("naïve")),
            (8, Value::List(vec![Value::I32(1), Value::I32(2)])),
            (9, Value::pairs([("a", "b")])),
            (10, Value::Struct(Vec::new())),
        ]);
        let mut body = Vec::new();
        Value::Struct(vec![(0, inner)]).write(&mut body);
        reply(&body)
    }

    #[test]
    fn what_is_written_reads_back() {
        let bytes = [whole(), vec![1, 2, 3]].concat();
        let (answer, length) = answer(&bytes).expect("an answer");
        let said = answer.said.expect("a result");
        assert_eq!((answer.number, length), (7, bytes.len() - 3));
        assert_eq!((2..=5).map(|n| said.number(n)).collect::<Vec<_>>(), [-1, 300, -70_000, i64::MIN].map(Some));
        assert_eq!(said.words(7).as_deref(), Some("naïve"));
        assert!(said.field(8) == Some(&Value::List(vec![Value::I32(1), Value::I32(2)])));
        assert!(said.field(9) == Some(&Value::pairs([("a", "b")])));
    }

    #[test]
    fn a_part_of_an_answer_asks_for_more_and_never_for_too_much() {
        let bytes = whole();
        for n in 0..bytes.len() {
            match answer(&bytes[..n]) {
                Err(Unread::More(least)) => assert!(n < least && least <= bytes.len(), "{n}: {least}"),
                other => panic!("{n}: {other:?}"),
            }
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_reserved() {
        let field = |kind: u8, rest: &[u8]| reply(&[&[kind, 0, 0][..], rest].concat());
        let far = i32::MAX.to_be_bytes();
        let cases = [
            field(11, &far),
            field(11, &(-1i32).to_be_bytes()),
            field(15, &[&[2][..], &(-5i32).to_be_bytes()].concat()),
            field(99, &[]),
            reply(&[12, 0, 0].repeat(1000)),
            field(15, &[&[3][..], &far, &[0; 60_000]].concat()),
            field(13, &[&[2, 2][..], &far, &[0; 60_000]].concat()),
            reply(&[0]),
            b"HTTP/1.1 400 Bad Request".to_vec(),
            b"\x80\x01\x00\x09".to_vec(),
        ];
        for (n, bytes) in cases.iter().enumerate() {
            let found = answer(bytes);
            let still_reading = matches!(found, Err(Unread::More(_)));
            assert!(matches!(found, Err(Unread::Wrong(_))) || (n == 9 && still_reading), "{n}: {found:?}");
        }
    }

    #[test]
    fn requests_are_never_printed() {
        let request = Value::Struct(vec![(3, Value::text("hunter2"))]);
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
