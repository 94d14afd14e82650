//! The handler interface (wasm/handler.wit) for Rust: one function from `Turn` to `Answer`, named to `handler!`.
//!
//! It needs no crate: JSON is read and written here. The gateway writes the input, so it is valid JSON; a handler
//! that panics traps, and its turn changes nothing.
#![allow(dead_code)]
use std::fmt::{self, Display, Write};

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

static NULL: Json = Json::Null;

impl Json {
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// The member of that name; `Null` where there is none, or this is no object.
    pub fn member(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub fn number(&self) -> Option<f64> {
        if let Json::Number(number) = self { Some(*number) } else { None }
    }

    /// A whole number within 2^53.
    pub fn integer(&self) -> Option<i64> {
        self.number().filter(|number| number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0).map(|number| number as i64)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Number(value as f64)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.to_string())
    }
}

impl Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Bool(value) => write!(out, "{value}"),
            Json::Number(value) => write!(out, "{value}"),
            Json::Text(text) => write_text(out, text),
            Json::List(values) => {
                out.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if index == 0 { "" } else { "," })?;
                }
                out.write_char(']')
            }
            Json::Object(members) => {
                out.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { "," })?;
                    write_text(out, name)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn write_text(out: &mut fmt::Formatter, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(out, "\\{char}")?,
            '\0'..='\x1f' => write!(out, "\\u{:04x}", char as u32)?,
            _ => out.write_char(char)?,
        }
    }
    out.write_char('"')
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> u8 {
        while self.bytes[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
        self.bytes[self.at]
    }

    /// Steps over one byte that must come now, if it does.
    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == byte;
        self.at += taken as usize;
        taken
    }

    fn value(&mut self) -> Json {
        match self.peek() {
            b'n' => self.word(4, Json::Null),
            b't' => self.word(4, Json::Bool(true)),
            b'f' => self.word(5, Json::Bool(false)),
            b'"' => Json::Text(self.string()),
            b'[' => Json::List(self.entries(b']', Parser::value)),
            b'{' => Json::Object(self.entries(b'}', |parser| {
                parser.peek();
                let name = parser.string();
                parser.take(b':');
                (name, parser.value())
            })),
            _ => self.number(),
        }
    }

    fn word(&mut self, length: usize, value: Json) -> Json {
        self.at += length;
        value
    }

    fn entries<T>(&mut self, end: u8, entry: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut found = Vec::new();
        self.at += 1;
        while !self.take(end) {
            found.push(entry(self));
            self.take(b',');
        }
        found
    }

    fn number(&mut self) -> Json {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        Json::Number(std::str::from_utf8(&self.bytes[start..self.at]).unwrap().parse().unwrap())
    }

    fn string(&mut self) -> String {
        let mut found = Vec::new();
        self.at += 1;
        while self.bytes[self.at] != b'"' {
            if self.bytes[self.at] == b'\\' {
                self.at += 1;
                let char = self.escape();
                found.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                found.push(self.bytes[self.at]);
                self.at += 1;
            }
        }
        self.at += 1;
        String::from_utf8(found).unwrap()
    }

    fn escape(&mut self) -> char {
        let code = self.bytes[self.at];
        self.at += 1;
        match code {
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode(),
            _ => code as char,
        }
    }

    fn unicode(&mut self) -> char {
        let first = self.hex();
        if !(0xd800..0xdc00).contains(&first) || self.bytes[self.at] != b'\\' {
            return char::from_u32(first).unwrap_or('\u{fffd}');
        }
        self.at += 2;
        let second = self.hex();
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second & 0x3ff)).unwrap_or('\u{fffd}')
    }

    fn hex(&mut self) -> u32 {
        let digits = std::str::from_utf8(&self.bytes[self.at..self.at + 4]).unwrap();
        self.at += 4;
        u32::from_str_radix(digits, 16).unwrap()
    }
}

pub struct Turn {
    /// `Null` for an actor that has none yet.
    pub state: Json,
    pub message: String,
    /// Checked against the message's schema.
    pub args: Json,
    /// Capabilities that this turn may use: a list of `{id, actor, messages?, expires?}`.
    pub caps: Json,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// 32 hex digits: all the randomness there is.
    pub seed: String,
    /// `type/id`
    pub actor: String,
}

pub struct Answer(Json);

impl Answer {
    pub fn reply(value: Json) -> Answer {
        Answer(Json::object([("reply", value)]))
    }

    /// Beside a reply: the new state.
    pub fn store(self, state: Json) -> Answer {
        self.with("state", state)
    }

    /// Beside a reply: the behaviour of the policy that the actor goes on under.
    pub fn become_(self, behaviour: &str) -> Answer {
        self.with("become", behaviour.into())
    }

    /// Beside a reply: a message to another actor, by the capability `{"$cap": n}`. `actor` may be empty where the
    /// capability names one.
    pub fn send(mut self, capability: Json, actor: &str, message: &str, args: Json) -> Answer {
        let mut send = vec![("to".to_string(), capability), ("message".to_string(), message.into()), ("args".to_string(), args)];
        if !actor.is_empty() {
            send.push(("actor".to_string(), actor.into()));
        }
        if let Json::Object(members) = &mut self.0 {
            match members.iter_mut().find(|(name, _)| name == "sends") {
                Some((_, Json::List(sends))) => sends.push(Json::Object(send)),
                _ => members.push(("sends".to_string(), Json::List(vec![Json::Object(send)]))),
            }
        }
        self
    }

    fn with(mut self, name: &str, value: Json) -> Answer {
        if let Json::Object(members) = &mut self.0 {
            members.push((name.to_string(), value));
        }
        self
    }
}

/// The caller gets code (lower_snake) and detail, and nothing changes.
pub fn fail(code: &str, detail: &str) -> Answer {
    Answer(Json::object([("error", Json::object([("code", code.into()), ("detail", detail.into())]))]))
}

#[no_mangle]
pub extern "C" fn pn_alloc(size: usize) -> *mut u8 {
    Vec::leak(vec![0; size]).as_mut_ptr()
}

/// What `handler!` exports.
pub fn run(ptr: *const u8, length: usize, handle: fn(&Turn) -> Answer) -> u64 {
    // SAFETY: the gateway wrote so many bytes where pn_alloc told it to.
    let bytes = unsafe { std::slice::from_raw_parts(ptr, length) };
    let input = Parser { bytes, at: 0 }.value();
    let text = |name: &str| input.member(name).text().unwrap_or_default().to_string();
    let turn = Turn {
        state: input.member("state").clone(),
        message: text("message"),
        args: input.member("args").clone(),
        caps: input.member("caps").clone(),
        now_ms: input.member("now").integer().unwrap_or(0),
        seed: text("seed"),
        actor: text("actor"),
    };
    let output: &'static mut [u8] = handle(&turn).0.to_string().into_bytes().leak();
    (output.as_ptr() as u64) << 32 | output.len() as u64
}

#[macro_export]
macro_rules! handler {
    ($handle:path) => {
        #[no_mangle]
        pub extern "C" fn pn_handle(ptr: *const u8, length: usize) -> u64 {
            $crate::postern::run(ptr, length, $handle)
        }
    };
}
pub(crate) use handler;
